"""The journal of a virtual run, as its root keeps it, and the referee who knows the invariants but not the protocol.

I1  one parameter hash per committed step: whoever applies a step arrives where the ledger's own arithmetic arrives
I2  every sample of committed steps exactly once and in order (what was rolled back is committed again, and says so)
I3  steps and generations are monotone; nothing is committed by a generation, or a coordinator, that is over
I4  in the end all living members hold the same parameters, and the last state is on disk
I5  the run ends, once faults have
I6  nothing is left: no task, no open call, no peer
I7  nothing comes of parameters that have drifted: no commit, no restored checkpoint
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import trio

from runtime import events as facts
from runtime.cluster.messages import RestorePoint
from runtime.cluster.signals import Finished, Position
from runtime.errors import PeerLost
from runtime.ids import Cursor, Step
from tests.virtual.engine import (
    DRIFTED,
    INITIAL,
    Part,
    State,
    digest_of,
    gradient_of,
    shard_samples,
    tokens_of,
    updated,
)
from tests.virtual.history import History

MOST_LINES = 1500


class Violation(AssertionError):
    """An invariant was broken; the text says which."""


def demand(holds: object, words: str) -> None:
    """Raise Violation(words) unless `holds`."""
    if not holds:
        raise Violation(words)


@dataclass(frozen=True)
class Entry:
    """A fact on its way to the journal, with what the root remembers of it for a successor; it arrives whole or not."""

    fact: facts.Event | Finished
    after: Position | None = None
    point: RestorePoint | None = None


@dataclass
class Committed:
    """A state that the run went through."""

    cursor: int
    digest: str
    updates: int


@dataclass
class Ledger:
    """Facts in order. `take` checks each against everything before it."""

    history: History
    lines: list[str] = field(default_factory=list)
    chain: list[Committed] = field(default_factory=lambda: [Committed(0, INITIAL, 0)])
    """chain[step] = the committed state after it."""
    ever: set[tuple[int, str]] = field(default_factory=lambda: {(0, INITIAL)})
    """Every state that was committed once, also those that were rolled back."""
    generation: int = 0
    after: Position | None = None
    point: RestorePoint = field(default_factory=lambda: RestorePoint(Step(0), Cursor(0), ""))
    commits: int = 0
    rollbacks: int = 0
    started: int = 0
    outcome: Finished | None = None
    joined: dict[int, int] = field(default_factory=dict)
    """The newest incarnation that the present coordinator let in, by rank."""
    broken: Violation | None = None
    alarm: trio.Event = field(default_factory=trio.Event)

    async def guard(self) -> None:
        """Raises the first Violation as soon as there is one, outside of whatever code was running."""
        await self.alarm.wait()
        assert self.broken is not None
        raise self.broken

    def _note(self, violation: Violation) -> None:
        self.broken = self.broken or violation
        self.alarm.set()

    def take(self, now: float, entry: Entry) -> None:
        """The fact is in the journal from now on."""
        try:
            self._take(now, entry)
        except Violation as violation:
            self._note(violation)

    def _take(self, now: float, entry: Entry) -> None:
        demand(len(self.lines) < MOST_LINES, "I5 the journal grows and grows")
        self.lines.append(f"{now:8.3f} {entry.fact}")
        self.after = entry.after or self.after
        self.point = entry.point or self.point
        match entry.fact:
            case facts.StepCommitted() as step:
                self._committed(step)
            case facts.RolledBack(from_step=old, to_step=new):
                demand(old == len(self.chain) - 1, f"I3 rolled back from {old}, which is not the last committed step")
                demand(0 <= new < old, f"I3 rolled back from {old} to {new}")
                del self.chain[new + 1 :]
                self.rollbacks += 1
            case facts.GenerationStarted(generation=generation, step=first):
                demand(generation > self.generation, f"I3 generation {generation} began after {self.generation}")
                demand(first == len(self.chain), f"I3 generation {generation} begins with {first}")
                self.generation = generation
            case facts.RunStarted():
                demand(self.generation == 0, "I3 the run started twice")
                self.started += 1
            case facts.WorkerJoined(rank=rank, incarnation=incarnation):
                newest = self.joined.get(rank, 0)
                demand(incarnation >= newest, f"I3 worker {rank}.{incarnation} was let in after {rank}.{newest}")
                self.joined[rank] = incarnation
            case Finished() as end:
                self.outcome = end
            case facts.CheckpointWritten(step=step, parameter_hash=digest):
                known = (step, digest) in self.ever or digest.startswith(DRIFTED)  # I7: but never restored
                demand(known, f"I1 the checkpoint of step {step} was never committed")
            case _:
                pass

    def _committed(self, fact: facts.StepCommitted) -> None:
        before, step, history = self.chain[-1], len(self.chain), self.history
        demand(fact.step == step, f"I3 step {fact.step} was committed where {step} is next")
        demand(fact.generation == self.generation, f"I3 generation {fact.generation} committed in {self.generation}")
        demand(fact.cursor == before.cursor, f"I2 step {step} begins at sample {fact.cursor}, not {before.cursor}")
        shards = min(history.shards, history.batch)
        expected = tuple(shard_samples(fact.cursor, history.batch, shard, shards) for shard in range(shards))
        demand(fact.sample_ids == expected, f"I2 step {step} consumed {fact.sample_ids}")
        samples = [sample for shard in expected for sample in shard]
        tokens = sum(map(tokens_of, samples))
        demand(fact.tokens == tokens, f"I2 step {step} counted {fact.tokens} tokens, not {tokens}")
        demand(len(fact.owners) == shards, f"I2 step {step} has owners {fact.owners}")
        finite = not history.poison & set(samples)
        demand(fact.applied == finite, f"I1 step {step}: applied is {fact.applied}, finite is {finite}")
        parts = [
            Part(
                tuple((s, digest_of(before.digest, expected[s])) for s in range(shards) if fact.owners[s] == rank), True
            )
            for rank in sorted(set(fact.owners))
        ]
        digest, updates = before.digest, before.updates + finite
        if finite:
            gradient = gradient_of(parts, deterministic=history.deterministic)
            digest = updated(digest, gradient, tokens, fact.learning_rate, updates)
            demand(fact.learning_rate == rate_of(updates, history.steps), f"I1 step {step}: another learning rate")
        self.chain.append(Committed(fact.cursor + fact.samples, digest, updates))
        self.ever.add((step, digest))
        self.commits += 1

    def seen(self, who: str, state: State, how: str) -> None:
        """A device holds this state now: it must be one that was committed."""
        if state.digest.startswith(DRIFTED):  # a newcomer may fetch it, but nothing may come of it
            if how != "adopted":
                self._note(Violation(f"I7 {who} {how} a state of step {state.step} that had drifted"))
            return
        cursor = state.step * self.history.batch
        if (state.step, state.digest) not in self.ever:
            self._note(Violation(f"I1 {who} {how} a state of step {state.step} that was never committed"))
        elif state.cursor != cursor:
            self._note(Violation(f"I2 {who} {how} step {state.step} with cursor {state.cursor}"))

    def ended(self, outcome: str, reason: str, disk: dict[str, State], failed: set[Any]) -> None:
        """The run is over, and says how."""
        last = self.chain[-1]
        step = len(self.chain) - 1
        if outcome == "failed":
            demand(step in failed, f"I5 the run failed though nothing did: {reason}")
            return
        if outcome == "done":
            demand(step == self.history.steps, f"I5 the run is done at step {step}")
        else:
            demand(outcome == "stopped" and self.history.stop_at >= 0, f"I5 the run ended as {outcome}: {reason}")
        if outcome == "done" or step > 0:
            saved = {(state.step, state.digest) for state in disk.values()}
            demand((step, last.digest) in saved or outcome == "stopped", f"I4 step {step} is not on disk in the end")


def copied(at: Position | None) -> Position | None:
    """The position as of now; the coordinator goes on to change its own."""
    return None if at is None else Position(at.step, at.cursor, dict(at.counters), at.verdict)


def announce(at: Position, last: Step, samples: int) -> facts.RunStarted:
    """The run's first fact."""
    return facts.RunStarted("virtual", 0, Step(at.step + 1), last, samples, "-")


def expected(error: Exception) -> bool:
    """Whether a handler may end like this: its caller was lost."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return isinstance(error, PeerLost)


def rate_of(update: int, last: int) -> float:
    """A learning rate that differs for every update."""
    return 1.0 / (10 + update) + last / 1000
