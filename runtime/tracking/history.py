"""From facts to what a tracker takes: rows of numbers over steps, tables of answers, checkpoints as artifacts. Pure.

The axis is `train/step` and never the tracker's own count: a run that rolled back or was resumed repeats steps, and
`run/attempt` tells the repetitions apart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from runtime.events import (
    CheckpointWritten,
    Envelope,
    EvaluationFinished,
    GenerationStarted,
    RolledBack,
    RunStarted,
    SampleGenerated,
    ShardsMoved,
    StepCommitted,
    WorkerLost,
)
from runtime.ids import Rank

STEP = "train/step"
Upload: TypeAlias = Literal["none", "best", "last", "all"]


@dataclass(frozen=True)
class Row:
    """Numbers of one moment."""

    values: Mapping[str, float]
    rank: Rank | None = None
    """Whose run of the group it belongs to; None: the main one."""


@dataclass(frozen=True)
class Answers:
    """What the model answered to held-out prompts."""

    step: int
    rows: tuple[tuple[str, str, str], ...]
    """(prompt, expected, answer)."""


@dataclass(frozen=True)
class Artifact:
    """A checkpoint to upload."""

    step: int
    path: str
    """Relative to the run folder."""
    aliases: tuple[str, ...]
    metrics: Mapping[str, float]
    """What was measured of this state."""


Entry: TypeAlias = Row | Answers | Artifact


@dataclass
class History:
    """`take` each fact in order; `finish` gives what was held back."""

    metric: str = "eval/loss"
    """What "best" is measured by."""
    mode: Literal["min", "max"] = "min"
    upload: Upload = "none"
    per_rank: bool = False
    _attempt: int = 0
    _workers: int = 0
    _answers: list[SampleGenerated] = field(default_factory=list)
    _metrics: dict[int, dict[str, float]] = field(default_factory=dict)
    """By step, of the newest evaluations."""
    _best: float = math.nan
    _newest: Artifact | None = None
    _lost: dict[Rank, int] = field(default_factory=dict)
    _speeds: dict[Rank, float] = field(default_factory=dict)

    def take(self, envelope: Envelope) -> list[Entry]:
        """What the fact gives the tracker; also what the facts before it held back."""
        event = envelope.event
        if isinstance(event, SampleGenerated):
            table = self._table() if self._answers and self._answers[0].step != event.step else []
            self._answers.append(event)
            return table
        return [*self._table(), *self._entries(event)]

    def finish(self) -> list[Entry]:
        """What is left at the end: the last answers, and the last checkpoint if that one is wanted."""
        last = [self._newest] if self.upload == "last" and self._newest is not None else []
        return [*self._table(), *last]

    def _entries(self, event: object) -> list[Entry]:
        match event:
            case RunStarted():
                self._attempt += 1
            case RolledBack():
                self._attempt += 1
            case GenerationStarted():
                self._workers = len(event.members)
            case WorkerLost():
                self._lost[event.rank] = self._lost.get(event.rank, 0) + 1
            case ShardsMoved():
                self._speeds |= dict(event.speeds)
            case StepCommitted():
                return [self._step(event), *(self._ranks(event) if self.per_rank else ())]
            case EvaluationFinished():
                return [self._evaluation(event)]
            case CheckpointWritten():
                return self._checkpoint(event)
        return []

    def _step(self, event: StepCommitted) -> Row:
        per_second = 1 / event.seconds if event.seconds > 0 else math.nan
        return Row(
            {
                STEP: event.step,
                "train/loss": event.loss,
                "train/grad_norm": event.grad_norm,
                "train/learning_rate": event.learning_rate,
                "train/tokens": event.tokens,
                "train/samples": event.cursor + event.samples,
                "train/applied": float(event.applied),
                "train/tokens_per_second": event.useful_tokens * per_second,
                "train/trained_tokens_per_second": event.tokens * per_second,
                "time/step_seconds": event.seconds,
                "time/compute_seconds": event.compute_seconds,
                "time/exchange_seconds": event.exchange_seconds,
                "time/feed_seconds": event.feed_seconds,
                "run/attempt": self._attempt,
                "run/workers": self._workers,
            }
        )

    def _ranks(self, event: StepCommitted) -> list[Entry]:
        """What each owner of a shard did for the step."""
        found: list[Entry] = []
        for rank in sorted(set(event.owners)):
            owned = [shard for shard, owner in enumerate(event.owners) if owner == rank]
            values: dict[str, float] = {
                STEP: event.step,
                "rank/shards": len(owned),
                "rank/lost": self._lost.get(rank, 0),
            }
            if event.sample_ids:
                values["rank/samples"] = sum(len(event.sample_ids[shard]) for shard in owned)
            if rank in self._speeds:
                values["rank/positions_per_second"] = self._speeds[rank]
            found.append(Row(values, rank))
        return found

    def _evaluation(self, event: EvaluationFinished) -> Row:
        measured = {"loss": event.loss, "token_accuracy": event.token_accuracy, **dict(event.metrics)}
        metrics = {f"eval/{name}": value for name, value in measured.items()}
        self._metrics = {event.step: metrics}
        return Row(
            {STEP: event.step, **metrics, "time/evaluation_seconds": event.seconds, "run/attempt": self._attempt}
        )

    def _checkpoint(self, event: CheckpointWritten) -> list[Entry]:
        metrics = self._metrics.get(event.step, {})
        is_best = self._improves(metrics.get(self.metric, math.nan))
        aliases = (f"step-{event.step}", "latest", *(("best",) if is_best else ()))
        self._newest = Artifact(event.step, event.path, aliases, metrics)
        values = {STEP: event.step, "checkpoint/size_bytes": event.size_bytes, "checkpoint/seconds": event.seconds}
        wanted = self.upload == "all" or (self.upload == "best" and is_best)
        return [Row(values), *([self._newest] if wanted else [])]

    def _improves(self, value: float) -> bool:
        """Whether it is the best so far; nothing is better than what was not measured."""
        better = math.isfinite(value) and (
            math.isnan(self._best) or (value < self._best if self.mode == "min" else value > self._best)
        )
        if better:
            self._best = value
        return better

    def _table(self) -> list[Entry]:
        answers, self._answers = self._answers, []
        if not answers:
            return []
        return [Answers(answers[0].step, tuple((one.prompt, one.expected, one.answer) for one in answers))]
