"""Four orders in which the stages of a pipeline compute a step. Pure: (stages, micro-batches, chunks) -> Schedule.

The pictures show 4 stages and 8 micro-batches, a line per stage, where F, B (input) and W (weights) take one unit each
and a whole backward pass two. Digits are forwards, `aa` is the whole backward pass of micro-batch 0, `a` its gradient
of the input alone, `A` that of the weights. A test draws them from the simulator.

GPipe (Huang and others, 2019): all forwards, then all backward passes. Idle (p-1)/(m+p-1); keeps m activations.

    01234567.........aabbccddeeffgghh
    .01234567......aabbccddeeffgghh..
    ..01234567...aabbccddeeffgghh....
    ...01234567aabbccddeeffgghh......

1F1B (PipeDream-flush; Narayanan and others, 2021): as many forwards as there are stages behind, then one backward pass
for each forward. The same idle time; stage s keeps min(m, p-s) activations instead of m.

    0123......aa4bb5cc6dd7ee.ff.gg.hh
    .012....aa3bb4cc5dd6ee7ff.gg.hh..
    ..01..aa2bb3cc4dd5ee6ff7gg.hh....
    ...0aa1bb2cc3dd4ee5ff6gg7hh......

Interleaved 1F1B (Narayanan and others, 2021): a stage holds v pieces of the model, each 1/v as long, so that the first
micro-batch reaches the last stage sooner. Idle (p-1)/(vm+p-1), here with v = 2 and units half as long; v times the
messages, and more activations than 1F1B. Exact where m is a multiple of p; close to it elsewhere.

    01230123456...aa7bb.4cc5dd6aa7bbcc.dd.ee.ff.gg.hheeffgghh
    .012301234..aa5bb6cc7dd4aa5bb6cc7dd.ee.ff.gg.hheeffgghh..
    ..0123012.aa3bb4cc5dd6aa7bb4cc5dd6ee7ff.gg.hheeffgghh....
    ...01230aa1bb2cc3dd4aa5bb6cc7dd4ee5ff6gg7hheeffgghh......

ZB-H1 (Qi and others, 2023): the backward pass in two halves. The stage before waits only for the first, so the second,
the weights' gradients, fills what would be idle: stage s lets them wait for s micro-batches. Idle (p-1)/(3m+p-1) where
F, B and W take the same time, a third of 1F1B's; every stage keeps up to p activations, as 1F1B's first.

    0123...aA4bB5cC6dD7eEfFgGhH
    .012..a3bA4cB5dC6eD7fEgFhGH
    ..01.a2b3cA4dB5eC6fD7gEhFGH
    ...0a1b2c3dA4eB5fC6gD7hEFGH
"""

from __future__ import annotations

from collections.abc import Iterator

from runtime.pipeline.actions import (
    Backward,
    BackwardInput,
    BackwardWeight,
    Compute,
    Forward,
    Schedule,
    ScheduleName,
)
from runtime.pipeline.transfers import with_transfers

INTERLEAVED_CHUNKS = 2
"""Chunks per stage when nobody asks for more: twice the messages for half the idle time."""


def build(name: ScheduleName, stages: int, micro_batches: int, chunks: int = 1) -> Schedule:
    """The schedule `name`. Raises ValueError for sizes that it cannot have (`why_not` says which)."""
    if reason := why_not(name, stages, micro_batches, chunks):
        raise ValueError(f"{name}: {reason}")
    match name:
        case "gpipe":
            orders = [_gpipe(micro_batches) for _ in range(stages)]
        case "1f1b":
            orders = [_one_forward_one_backward(stage, stages, micro_batches) for stage in range(stages)]
        case "interleaved":
            orders = [_interleaved(stage, stages, micro_batches, chunks) for stage in range(stages)]
        case "zb-h1":
            orders = [_zb_h1(stage, stages, micro_batches) for stage in range(stages)]
    actions = with_transfers([list(order) for order in orders], chunks)
    return Schedule(name, stages, micro_batches, chunks, actions, _capacity(name, stages, micro_batches))


def why_not(name: ScheduleName, stages: int, micro_batches: int, chunks: int) -> str:
    """The reason in words why there is no such schedule, or nothing."""
    if stages < 1 or micro_batches < 1 or chunks < 1:
        return "stages, micro-batches and chunks are at least 1"
    if name != "interleaved":
        return f"holds one chunk per stage, not {chunks}" if chunks > 1 else ""
    if stages < 2 or chunks < 2:
        return "needs at least 2 stages and 2 chunks per stage"
    return ""


def in_flight_limit(name: ScheduleName, stage: int, stages: int, micro_batches: int, chunks: int = 1) -> int:
    """The most forwards that `stage` keeps at once: what its memory must hold, in activations of one chunk."""
    match name:
        case "gpipe":
            return micro_batches
        case "1f1b":
            return min(micro_batches, stages - stage)
        case "interleaved":
            return min(micro_batches * chunks, _ahead(stage, stages, micro_batches, chunks) + 1)
        case "zb-h1":
            return min(micro_batches, stages)


def _gpipe(micro_batches: int) -> Iterator[Compute]:
    yield from (Forward(i) for i in range(micro_batches))
    yield from (Backward(i) for i in range(micro_batches))


def _one_forward_one_backward(stage: int, stages: int, micro_batches: int) -> Iterator[Compute]:
    ahead = min(micro_batches, stages - stage - 1)
    yield from (Forward(i) for i in range(ahead))
    for i in range(micro_batches):
        if i + ahead < micro_batches:
            yield Forward(i + ahead)
        yield Backward(i)


def _interleaved(stage: int, stages: int, micro_batches: int, chunks: int) -> Iterator[Compute]:
    """Megatron's order. Micro-batches go in groups of at least `stages` (all of them, where there are fewer): a group
    passes through chunk 0, then through chunk 1, ... and comes back in the same way."""
    groups = _groups(stages, micro_batches)
    forwards = [Forward(i, chunk) for group in groups for chunk in range(chunks) for i in group]
    backwards = [Backward(i, chunk) for group in groups for chunk in reversed(range(chunks)) for i in group]
    ahead = min(len(forwards), _ahead(stage, stages, micro_batches, chunks))
    yield from forwards[:ahead]
    for k, backward in enumerate(backwards):
        if k + ahead < len(forwards):
            yield forwards[k + ahead]
        yield backward


def _groups(stages: int, micro_batches: int) -> list[range]:
    rounds = max(1, micro_batches // stages)
    bounds = [micro_batches * i // rounds for i in range(rounds + 1)]
    return [range(bounds[i], bounds[i + 1]) for i in range(rounds)]


def _capacity(name: ScheduleName, stages: int, micro_batches: int) -> int:
    """One message being read and one under way; a group larger than the pipeline also waits for its next chunk."""
    largest = max(map(len, _groups(stages, micro_batches)))
    return 2 + (max(0, largest - stages) if name == "interleaved" else 0)


def _ahead(stage: int, stages: int, micro_batches: int, chunks: int) -> int:
    return 2 * (stages - stage - 1) + (chunks - 1) * max(map(len, _groups(stages, micro_batches)))


def _zb_h1(stage: int, stages: int, micro_batches: int) -> Iterator[Compute]:
    ahead = min(micro_batches, stages - stage - 1)
    yield from (Forward(i) for i in range(ahead))
    for i in range(micro_batches):
        if i + ahead < micro_batches:
            yield Forward(i + ahead)
        yield BackwardInput(i)
        if i >= stage:
            yield BackwardWeight(i - stage)
    yield from (BackwardWeight(i) for i in range(max(0, micro_batches - stage), micro_batches))
