"""One evaluation under way: whose share is missing, and what the shares add up to.

Sums in float64, merged, never averaged averages."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from runtime import events
from runtime.cluster.messages import Answer, Evaluated
from runtime.ids import Generation, Rank, Step

ScoresOf: TypeAlias = Callable[[Iterable[Mapping[str, tuple[float, ...]]]], Mapping[str, float]]
"""The sums that each worker counted, by metric -> the scores of all answers, by name."""
_MOST_NATS = 88.0
"""exp of more is no float32, and no perplexity that anybody compares."""


def no_scores(_: Iterable[Mapping[str, tuple[float, ...]]]) -> Mapping[str, float]:
    """Nobody scores answers."""
    return {}


@dataclass
class Evaluation:
    """The shares of `workers`, all of which must arrive."""

    workers: tuple[Rank, ...]
    since: float
    scores_of: ScoresOf = no_scores
    shares: dict[Rank, Evaluated] = field(default_factory=dict)

    def add(self, rank: Rank, share: Evaluated, generation: Generation) -> bool:
        """Take a share; True when it was the last one missing. Shares of an older generation are ignored."""
        if share.generation != generation or rank not in self.workers:
            return False
        self.shares[rank] = share
        return set(self.shares) == set(self.workers)

    @property
    def loss(self) -> float:
        """Held-out loss: mean over tokens."""
        return math.fsum(self.shares[rank].loss_sum for rank in self.workers) / max(self.tokens, 1)

    @property
    def tokens(self) -> int:
        """Held-out tokens that counted."""
        return sum(share.tokens for share in self.shares.values())

    @property
    def accuracy(self) -> float:
        """Share of those tokens that were the model's first choice."""
        return sum(share.correct for share in self.shares.values()) / max(self.tokens, 1)

    @property
    def perplexity(self) -> float:
        """exp of the loss of all tokens together: never a mean of perplexities."""
        return math.exp(min(self.loss, _MOST_NATS))

    @property
    def scores(self) -> dict[str, float]:
        """The perplexity, and how good the answers are if there are any."""
        counted = [self.shares[rank].sums for rank in self.workers]
        return {"perplexity": self.perplexity, **self.scores_of(counted)}

    @property
    def metrics(self) -> dict[str, float]:
        """What a checkpoint of this state is judged by."""
        found = {"loss": self.loss, "token_accuracy": self.accuracy, **self.scores}
        return {f"eval/{name}": value for name, value in found.items()}

    @property
    def answers(self) -> tuple[Answer, ...]:
        """Answers to held-out prompts, in the prompts' order."""
        found = (answer for share in self.shares.values() for answer in share.answers)
        return tuple(sorted(found, key=lambda answer: answer.index))

    def facts(self, step: Step, now: float) -> list[events.Event]:
        """What the journal says of the finished evaluation of the state after `step`."""
        seconds = now - self.since
        found: list[events.Event] = [
            events.EvaluationFinished(
                step, "held-out", self.loss, self.tokens, self.accuracy, seconds, tuple(self.scores.items())
            )
        ]
        for answer in self.answers:
            found.append(events.SampleGenerated(step, answer.prompt, answer.expected, answer.answer))
        return found
