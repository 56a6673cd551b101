"""Hand-made histories of a small run in file order: steps of four samples, epochs of twelve, two workers."""

from __future__ import annotations

from collections.abc import Iterable

from runtime.events import (
    Envelope,
    Event,
    GenerationStarted,
    RunFinished,
    RunStarted,
    StepCommitted,
)
from runtime.events.audit import Audit
from runtime.events.ledger import Ledger
from runtime.events.ledger_samples import ReadingOrder
from runtime.ids import ActorPath, Cursor, Generation, Incarnation, Rank, Step

BATCH, EPOCH = 4, 12
ZERO, ONE = Rank(0), Rank(1)


def started(first_step: int = 1, *, run_id: str = "a", samples: int = EPOCH, deterministic: bool = True) -> RunStarted:
    cursor = (first_step - 1) * BATCH
    step = Step(first_step)
    return RunStarted(
        "r", 2, step, Step(9), BATCH, "c", run_id, cursor=cursor, samples=samples, deterministic=deterministic
    )


def generation(number: int = 1, step: int = 1, ranks: tuple[Rank, ...] = (ZERO, ONE)) -> GenerationStarted:
    return GenerationStarted(Generation(number), Step(step), tuple((rank, Incarnation(1)) for rank in ranks))


def commit(step: int, number: int = 1) -> StepCommitted:
    """Step `step` of a run in file order: two shards of two samples."""
    cursor = (step - 1) * BATCH
    first, second, third, fourth = [(cursor + index) % EPOCH for index in range(BATCH)]
    return StepCommitted(
        step=Step(step),
        generation=Generation(number),
        cursor=Cursor(cursor),
        samples=BATCH,
        applied=True,
        loss=1.0,
        tokens=8,
        grad_norm=1.0,
        learning_rate=0.1,
        seconds=0.1,
        owners=(ZERO, ONE),
        sample_ids=((first, second), (third, fourth)),
    )


def commits(first: int, last: int, number: int = 1) -> list[Event]:
    return [commit(step, number) for step in range(first, last + 1)]


def finished(step: int) -> RunFinished:
    return RunFinished("done", Step(step), 1.0)


def enveloped(events: Iterable[Event], first: int = 1) -> list[Envelope]:
    return [Envelope(seq, 1000.0, ActorPath("run"), event) for seq, event in enumerate(events, first)]


def audit_of(envelopes: Iterable[Envelope], order: ReadingOrder | None = None, torn_after: int = 0) -> Audit:
    ledger = Ledger()
    for envelope in envelopes:
        ledger.feed(envelope)
    return ledger.close(order, torn_after)


def audit(*events: Event | Iterable[Event], order: ReadingOrder | None = None) -> Audit:
    flat: list[Event] = []
    for event in events:
        flat.extend(event if isinstance(event, Iterable) else [event])
    return audit_of(enveloped(flat), order)
