"""The ledger: what a journal proves about a run, from its commits alone.

    walk      every fact in order; a rollback, or a resumption from an earlier checkpoint, voids the commits after that
              point: they were work done twice, and what is left is the final history
    check     the final history: steps and cursor without a hole, every shard computed by a member of the generation,
              losses finite, parameter hashes that agree, and every sample once in each epoch (`ledger_samples`)

A journal may have holes (a torn line, a full disk). Steps are numbered, so what a hole could hide is a way back and
the steps that were done again: two facts at least. After a rollback the generation is another one; a resumption takes
four facts. So the next commit closes a hole of one fact, or of up to three within a generation; if a commit was among
them its step is missed anyway. Any other hole leaves the history unproven.

Pure: it takes facts, and opens nothing.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

from runtime.events.audit import FAULTS, Audit, Line
from runtime.events.ledger_samples import ReadingOrder, Taken, check_samples
from runtime.events.replay import JournalReader
from runtime.events.run import RunFinished, RunStarted
from runtime.events.saving import CheckpointFailed, CheckpointRejected, CheckpointWritten
from runtime.events.supervision import (
    ActorReady,
    GenerationStarted,
    StateHealed,
    WorkerHung,
    WorkerLost,
    WorkerRemoved,
)
from runtime.events.training import RolledBack, StepAborted, StepCommitted
from runtime.events.types import Envelope, UnknownEvent
from runtime.ids import Rank

_DECISIVE = {"RunStarted", "RolledBack", "StepCommitted"}
"""Facts without which the final history cannot be told."""
_SESSION_FACTS = 4
"""The fewest facts of a session with a commit: a worker joined, the run and a generation started, a step committed."""


@dataclass
class Ledger:
    """Takes the facts of a journal in order; `close` gives the verdict."""

    lines: list[Line] = field(default_factory=list)
    start: RunStarted | None = None
    """Of the session that the final history begins with."""
    newest: RunStarted | None = None
    sessions: int = 0
    committed: int = 0
    tip: int = 0
    """The step that the run has reached, whoever said so."""
    members: dict[tuple[int, int], frozenset[Rank]] = field(default_factory=dict)
    hashes: dict[int, tuple[str, str]] = field(default_factory=dict)
    """state -> (hash, where it was said)."""
    faults: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _owners: dict[tuple[Rank, ...], tuple[Rank, ...]] = field(default_factory=dict)
    _last_seq: int = 0
    _hole: int = 0
    """Facts that are missing since the last place where nothing decisive could be."""
    _hole_after: int = 0
    _asked_to_leave: set[Rank] = field(default_factory=set)
    _doubts: list[str] = field(default_factory=list)
    """A sentence for each hole that could hide a change of the final history."""

    def feed(self, envelope: Envelope, torn_before: int = 0) -> None:
        """Take one fact; `torn_before` lines between the one before and this one could not be read."""
        if envelope.seq <= self._last_seq:
            self.wrong.append(f"fact {envelope.seq} comes again after fact {self._last_seq}: two processes wrote this")
            return
        self._miss(max(torn_before, envelope.seq - self._last_seq - 1))
        self._last_seq = envelope.seq
        match envelope.event:
            case StepCommitted() as event:
                self._commit(event)
            case RunStarted() as event:
                self._session(event)
            case RolledBack() as event:
                self._rollback(event)
                self.tip = event.to_step
                self._close_hole(shorter_than=2)
            case RunFinished(step=step):
                self.tip = max(self.tip, step)
                if self.lines and step == self._reached:
                    self._close_hole(shorter_than=2)
            case GenerationStarted(generation=generation, members=members):
                self.members[self.sessions, generation] = frozenset(rank for rank, _ in members)
            case CheckpointWritten(step=step, parameter_hash=digest):
                self._hash(step, digest, f"the checkpoint of step {step}")
            case UnknownEvent(type=kind) if kind in _DECISIVE:
                self.notes.append(f"fact {envelope.seq}, a {kind}, cannot be read")
                self._miss(1)
            case _:
                pass
        self._count(envelope)

    def close(self, order: ReadingOrder | None = None, torn_after: int = 0) -> Audit:
        """The verdict on everything fed so far; `torn_after` lines at the end could not be read.

        `order` says how far the data order may move a sample; without it, not beyond its step.
        """
        self._miss(torn_after)
        self._keep_hole()
        samples = self.newest.samples if self.newest else 0
        violations = [*self.wrong, *self._doubts, *_contiguous(self.lines), *self._each_line(), *self._start(samples)]
        if self.lines and samples:
            taken = [Taken(line.step, line.cursor, line.samples, line.ids) for line in self.lines]
            found = check_samples(taken, samples, order or ReadingOrder())
            violations += found.violations
            self.notes += found.notes
        trained = [line for line in self.lines if not line.passed_over]
        faults = self.faults + Counter({"steps skipped": sum(not line.applied for line in trained)})
        first, last = (trained[0].step, trained[-1].step) if trained else (0, 0)
        return Audit(
            steps=len(trained),
            first_step=first,
            last_step=last,
            samples=sum(line.samples for line in trained),
            samples_in_epoch=samples,
            generations=len(self.members),
            sessions=self.sessions,
            committed=self.committed,
            repeated=self.committed - len(trained),
            faults={kind: faults[kind] for kind in FAULTS},
            violations=tuple(violations),
            notes=tuple(self.notes),
        )

    # ---- the walk

    def _commit(self, event: StepCommitted) -> None:
        last = self.lines[-1] if self.lines else None
        self.committed += 1
        if event.step <= (reached := self._reached):
            self.wrong.append(
                f"step {event.step} was committed again after step {reached}, and nothing was rolled back"
            )
            return
        same = last is not None and (self.sessions, event.generation) == (last.session, last.generation)
        self._close_hole(shorter_than=_SESSION_FACTS if same else 2)
        self._keep_hole()
        self.tip = event.step
        self._hash(event.step - 1, event.parameter_hash, f"the vote on step {event.step}")
        owners = self._owners.setdefault(event.owners, event.owners)
        ids = array("q", [each for shard in event.sample_ids for each in shard])
        sound = not event.applied or (math.isfinite(event.loss) and math.isfinite(event.grad_norm))
        self.lines.append(
            Line(
                event.step,
                self.sessions,
                event.generation,
                event.cursor,
                event.samples,
                ids,
                len(event.sample_ids),
                owners,
                sound,
                event.applied,
            )
        )

    def _session(self, event: RunStarted) -> None:
        """A root process, or only the successor of a coordinator that died before its first commit, states its plan."""
        known = self.newest
        if known is None or not event.run_id or event.run_id != known.run_id:
            self.sessions += 1
            self.faults["resumptions"] += self.sessions > 1
        if known is not None and known.samples != event.samples:
            self.wrong.append(
                f"an epoch had {known.samples} samples, and {event.samples} from step {event.first_step} on"
            )
        self.faults["steps lost in resumptions"] += self._void(event.first_step - 1, event.cursor)
        self.newest, self.tip = event, event.first_step - 1
        if not self.lines and (self.start is None or event.first_step <= self.start.first_step):
            self.start = event
        if event.first_step == 1:
            self._doubts.clear()
            self._close_hole(shorter_than=self._hole + 1)
        self._close_hole(shorter_than=2)

    def _rollback(self, event: RolledBack) -> None:
        self.notes.append(f"rolled back from step {event.from_step} to {event.to_step}: {event.reason}")
        if not event.passed_over:
            self.faults["steps lost in rollbacks"] += self._void(event.to_step, event.cursor)
            return
        first, last = event.state_cursor, event.cursor - 1
        self.notes.append(f"samples {first} to {last} of the run were passed over: consumed, and not trained on")
        lost = [line for line in self.lines if line.cursor >= first]
        if sum(line.samples for line in lost) != event.passed_over:
            self.wrong.append(f"the samples {first} to {last} that were passed over are not those of the steps before")
        self.faults["steps lost in rollbacks"] += len(lost)
        self.faults["samples passed over"] += event.passed_over
        self.lines = [line._replace(passed_over=True) if line.cursor >= first else line for line in self.lines]
        self._forget_hashes(event.to_step)

    def _void(self, step: int, cursor: int = -1) -> int:
        """Take every commit after `step` out of the final history; how many there were that still counted.

        `cursor`, where it is known, tells whether what was passed over before the first of them still is.
        """
        keep = len(self.lines)
        while keep and _is_after(self.lines[keep - 1], step, cursor):
            keep -= 1
        void = sum(not line.passed_over for line in self.lines[keep:])
        del self.lines[keep:]
        if void and not (self.newest and self.newest.deterministic):
            self._forget_hashes(step)
        return void

    def _forget_hashes(self, step: int) -> None:
        for state in [state for state in self.hashes if state > step]:
            del self.hashes[state]

    @property
    def _reached(self) -> int:
        """The last step of the final history; 0 without one."""
        return next((line.step for line in reversed(self.lines) if not line.passed_over), 0)

    def _hash(self, state: int, digest: str, source: str) -> None:
        if not digest:
            return
        known, where = self.hashes.setdefault(state, (digest, source))
        if known != digest:
            self.wrong.append(f"the parameters after step {state} are {known} by {where} and {digest} by {source}")

    def _count(self, envelope: Envelope) -> None:
        event = envelope.event
        kind = _KIND_OF.get(type(event))
        if isinstance(event, WorkerRemoved):
            self._asked_to_leave.add(event.rank)
        elif isinstance(event, WorkerLost) and event.rank in self._asked_to_leave:
            self._asked_to_leave.remove(event.rank)  # no fault: somebody wanted it
        elif kind is not None:
            self.faults[kind] += 1
        if isinstance(event, ActorReady) and event.incarnation > 1 and event.path.endswith("/coordinator"):
            self.faults["coordinator restarts"] += 1

    # ---- holes in the journal

    def _miss(self, count: int) -> None:
        if count and not self._hole:
            self._hole_after = self._last_seq
        self._hole += count

    def _close_hole(self, *, shorter_than: int) -> None:
        """The facts around the hole fit together: if it is small, no commit that counts can be in it."""
        if 0 < self._hole < shorter_than:
            self.notes.append(f"{self._missing()}; no commit that counts can be among them")
            self._hole = 0

    def _keep_hole(self) -> None:
        """What follows does not tell what was in the hole: it stays in doubt."""
        if self._hole:
            self._doubts.append(f"{self._missing()}: a commit or a rollback could be among them")
            self._hole = 0

    def _missing(self) -> str:
        facts = "a fact is" if self._hole == 1 else f"{self._hole} facts are"
        return f"{facts} missing after fact {self._hole_after}"

    # ---- the checks

    def _start(self, samples: int) -> list[str]:
        """Whether the history begins where the run says, ends where the run says, and has an epoch to speak of."""
        found = []
        if not samples:
            found.append("no RunStarted says how many samples an epoch has")
        if not self.lines:
            found.append("no step was committed: there is nothing to prove")
        else:
            first, said = self.lines[0], self.start
            step, cursor = (said.first_step, said.cursor) if said else (1, 0)
            if (first.step, first.cursor) != (step, cursor):
                here = f"step {first.step} at sample {first.cursor}"
                found.append(f"the ledger begins with {here}, the run with step {step} at sample {cursor}")
            elif step > 1:
                self.notes.append(f"the run began at step {step} from a checkpoint; what is before is another ledger's")
        last = self._reached
        if self.lines and self.tip > last:
            found.append(f"{_steps(last + 1, self.tip)} not in the ledger, though the run went on from step {self.tip}")
        return found

    def _each_line(self) -> Iterable[str]:
        for line in self.lines:
            if not line.sound:
                yield f"step {line.step} was applied though its loss or its gradient is not finite"
            if len(line.ids) != line.samples:
                yield f"step {line.step} consumed {line.samples} samples, but names {len(line.ids)}"
            if len(line.owners) != line.shards:
                yield f"step {line.step} has {line.shards} shards with samples, but {len(line.owners)} with an owner"
            members = self.members.get((line.session, line.generation))
            strangers = (
                set(line.owners) - members if members is not None else {rank for rank in line.owners if rank < 0}
            )
            if strangers:
                names = ", ".join(map(str, sorted(strangers)))
                yield f"step {line.step} counts shards of {names}, no member of generation {line.generation}"


_KIND_OF: dict[type, str] = {
    WorkerLost: "workers lost",
    WorkerHung: "workers hung",
    StateHealed: "workers healed",
    StepAborted: "steps repeated",
    RolledBack: "rollbacks",
    CheckpointFailed: "checkpoints failed",
    CheckpointRejected: "checkpoints rejected",
}


def _is_after(line: Line, step: int, cursor: int) -> bool:
    """Whether a line is after a state. What was passed over lies between two steps: there only the cursor can tell."""
    return line.cursor >= cursor >= 0 if line.passed_over else line.step > step


def _contiguous(lines: list[Line]) -> Iterable[str]:
    """Violations between neighbours of the final history."""
    holes = set()
    for before, after in pairwise(line for line in lines if not line.passed_over):
        if after.step != before.step + 1:
            holes.add(after.step)
            yield f"{_steps(before.step + 1, after.step - 1)} not in the ledger, though step {after.step} is"
    for before, after in pairwise(lines):
        if after.step not in holes and after.cursor != before.cursor + before.samples:
            due = before.cursor + before.samples
            yield f"step {after.step} begins at sample {after.cursor}, but the steps before it ended at {due}"
        if after.session == before.session and after.generation < before.generation:
            yield f"step {after.step} is of generation {after.generation}, after one of {before.generation}"


def _steps(first: int, last: int) -> str:
    return f"step {first} is" if first == last else f"steps {first} to {last} are"


def audit_journal(reader: JournalReader, order: ReadingOrder | None = None) -> Audit:
    """The audit of a journal. Raises OSError where the file cannot be read.

    Without `order` samples are expected to stay in their step, and a note says so: a refusal may be due to that.
    """
    ledger, torn = Ledger(), 0
    for envelope in reader:
        ledger.feed(envelope, len(reader.torn_lines) - torn)
        torn = len(reader.torn_lines)
    if reader.complaint:
        ledger.notes.append(reader.complaint)
    if order is None:
        ledger.notes.append("without the run's config.toml samples are taken to stay in their step")
    return ledger.close(order, len(reader.torn_lines) - torn + reader.torn_end)
