"""The life of one step on one worker. This is the program; everything else serves these lines."""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

import trio

from runtime.cluster.messages import Vote
from runtime.cluster.slices import Portion
from runtime.errors import Aborted, PeerLost
from runtime.flow import Array, Batch, StepOrder
from runtime.ids import Cursor, Rank, Step
from runtime.trainer.engine import Local, Parts

NOBODY = Rank(-1)


async def run_step(order: StepOrder, rank: Rank, local: Local, parts: Parts, portion: Portion | None = None) -> Vote:
    """Compute the shards that `order` gives to `rank` and that `local` does not have yet, sum with everybody, and vote.

    With a `portion` it gets those slices of the sum alone, and its vote tells of a part of the norm.

    Cancelled between its lines it leaves `local` whole: what was computed counts for the next order of the same step.
    """
    feeder, engine, exchange, pulse = parts.feeder, parts.engine, parts.exchange, parts.pulse
    missing, alone = without(order, rank, local), order.receivers == (rank,)
    local.alone = alone
    if missing.owners:
        pulse.enter(order.step, "feed")
        batch = await feeder.take(missing, rank)
        local.following = _following(order, rank, parts)
        local.feed_seconds += pulse.enter(order.step, "compute" if parts.stages == 1 else "pipeline")
        await engine.add_gradients(local, batch)
        local.compute_seconds += pulse.seconds_in_phase
    pulse.enter(order.step, "exchange")
    summed, digest = None, ""
    if not alone:
        verify = order.verify and rank in order.contributors  # a newcomer has no parameters yet
        summed, digest = await _with_hash(parts, verify, exchange.sum(order, await engine.parts(local), portion))
    measured = await engine.measure(local, summed, portion)
    inspected = not alone and (order.inspect or not measured.finite)
    own = await engine.own_square_sum(local) if inspected else -1.0
    exchange_seconds = pulse.enter(order.step, "vote")
    return Vote(
        generation=order.generation,
        step=order.step,
        tallies=tuple(local.tallies[shard] for shard in sorted(local.tallies)),
        finite=measured.finite,
        grad_square_sum=measured.square_sum,
        compute_seconds=local.compute_seconds,
        exchange_seconds=exchange_seconds,
        feed_seconds=local.feed_seconds,
        useful_tokens=local.useful_tokens,
        computed_positions=local.computed_positions,
        own_square_sum=own,
        apply_seconds=local.apply_seconds,
        parameter_hash=digest,
        is_part=portion is not None and not alone,
    )


async def begin_next(order: StepOrder, rank: Rank, local: Local, parts: Parts) -> Local | None:
    """Before the vote on `order`'s step: the step after it begun, if this worker is alone and its update was.

    Most often the engine began it together with this one. None where there is nothing to begin with. Whoever gets
    another order than the foreseen one passes it by.
    """
    if local.next is not None:
        return local.next
    batch = _following(order, rank, parts)
    return None if batch is None else await parts.engine.begin_next(local, batch)


def _following(order: StepOrder, rank: Rank, parts: Parts) -> Batch | None:
    """The batch of the step after `order`'s, if this worker is alone and it lies ready."""
    if order.receivers != (rank,) or parts.stages > 1:
        return None
    step, cursor = Step(order.step + 1), Cursor(order.cursor + order.samples)
    return parts.feeder.ready(replace(order, step=step, cursor=cursor), rank)


async def _with_hash(parts: Parts, wanted: bool, exchange: Coroutine[Any, Any, Array]) -> tuple[Array, str]:
    """(the sum, the hash of the parameters if it is wanted): one is network, the other a processor's work.

    The hash comes after the gradients, so that it vouches for what they were computed from.
    """
    if not wanted:
        return await exchange, ""
    digest, summed, failure = "", None, None

    async def take_hash() -> None:
        nonlocal digest
        digest = await parts.engine.parameter_hash()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take_hash)
        try:
            summed = await exchange
        except (PeerLost, Aborted) as error:  # not out of the nursery, which would make a group of it
            failure = error
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return summed, digest


def without(order: StepOrder, rank: Rank, local: Local) -> StepOrder:
    """`order` reduced to the shards of `rank` that `local` still lacks."""
    owners = tuple(
        owner if owner == rank and shard not in local.tallies else NOBODY for shard, owner in enumerate(order.owners)
    )
    mine = tuple(owner for owner in owners if owner != NOBODY)
    return replace(order, owners=owners if mine else (), receivers=())
