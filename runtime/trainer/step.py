"""The life of one step on one worker. This is the program; everything else serves these lines."""

from __future__ import annotations

from dataclasses import replace

from runtime.cluster.messages import Vote
from runtime.flow import StepOrder
from runtime.ids import Rank
from runtime.trainer.engine import Local, Parts

NOBODY = Rank(-1)


async def run_step(order: StepOrder, rank: Rank, local: Local, parts: Parts) -> Vote:
    """Compute the shards that `order` gives to `rank` and that `local` does not have yet, sum with everybody, and vote.

    Cancelled between its lines it leaves `local` whole: what was computed counts for the next order of the same step.
    """
    feeder, engine, exchange, pulse = parts.feeder, parts.engine, parts.exchange, parts.pulse
    missing, alone = without(order, rank, local), order.receivers == (rank,)
    if missing.owners:
        pulse.enter(order.step, "feed")
        batch = await feeder.take(missing, rank)
        local.feed_seconds += pulse.enter(order.step, "compute")
        await engine.add_gradients(local, batch)
        local.compute_seconds += pulse.seconds_in_phase
    pulse.enter(order.step, "exchange")
    summed = None if alone else await exchange.sum(order, await engine.parts(local))
    measured = await engine.measure(local, summed)
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
        apply_seconds=local.apply_seconds,
    )


def without(order: StepOrder, rank: Rank, local: Local) -> StepOrder:
    """`order` reduced to the shards of `rank` that `local` still lacks."""
    owners = tuple(
        owner if owner == rank and shard not in local.tallies else NOBODY for shard, owner in enumerate(order.owners)
    )
    mine = tuple(owner for owner in owners if owner != NOBODY)
    return replace(order, owners=owners if mine else (), receivers=())
