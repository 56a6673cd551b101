"""Orders in the protocol's words become plans of the data plane, and states travel with every bit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import mlx.core as mx
import numpy as np
import pytest
import trio

from runtime.cluster.messages import Heal, Member
from runtime.collectives import Peer
from runtime.errors import PeerLost
from runtime.flow import Array, Snapshot, StepOrder
from runtime.ids import Cursor, Generation, Incarnation, Rank, RunId, Step
from runtime.trainer.exchange import PeerExchange, on_device
from tests.unit.trainer.test_exactness import state_bits
from tests.unit.trainer.world import World

ELEMENTS, SHARDS, GUARD_SECONDS = 1000, 8, 60.0


@pytest.fixture
def peers() -> Iterator[list[Peer]]:
    opened = [Peer.open("127.0.0.1:0", RunId("trainer-tests"), Rank(rank)) for rank in range(2)]
    yield opened
    for peer in opened:
        peer.close()


def members_of(peers: list[Peer]) -> tuple[Member, ...]:
    return tuple(Member(peer.rank, Incarnation(1), peer.address) for peer in peers)


def order_of(owners: list[int], receivers: tuple[int, ...] = (0, 1), step: int = 1) -> StepOrder:
    ranks = tuple(Rank(owner) for owner in owners)
    return StepOrder(Generation(1), Step(step), Cursor(0), 16, ranks, tuple(Rank(rank) for rank in receivers))


def test_a_plan_names_one_part_per_contributor_in_the_order_of_ranks(peers: list[Peer]) -> None:
    plan = PeerExchange(peers[0], ELEMENTS, SHARDS, deterministic=False).plan(
        order_of([2, 2, 0, 0, 0, 2, 0, 0], (0, 1, 2))
    )
    assert plan.contributions == {0: ((0, 1),), 2: ((1, 1),)}
    assert (plan.generation, plan.step, plan.receivers) == (1, 1, (0, 1, 2))


def test_a_deterministic_plan_names_the_maximal_nodes_of_each_contributor(peers: list[Peer]) -> None:
    plan = PeerExchange(peers[0], ELEMENTS, SHARDS, deterministic=True).plan(order_of([1, 0, 0, 0, 1, 1, 1, 1]))
    assert plan.contributions == {0: ((1, 1), (2, 2)), 1: ((0, 1), (4, 4))}


@pytest.mark.parametrize("deterministic", [False, True])
async def test_two_workers_get_the_same_sum_twice_in_a_row(peers: list[Peer], deterministic: bool) -> None:
    exchanges = [PeerExchange(peer, ELEMENTS, SHARDS, deterministic=deterministic) for peer in peers]
    owners = [0, 0, 0, 0, 1, 1, 1, 1]
    rng = np.random.default_rng(1)
    with trio.fail_after(GUARD_SECONDS):
        for exchange in exchanges:
            for _ in range(2):  # the second says nothing new
                await exchange.set_members(Generation(1), members_of(peers))
        for step in (1, 2):
            parts = [rng.standard_normal(ELEMENTS, np.float32) for _ in range(2)]
            sums = await summed(exchanges, order_of(owners, step=step), parts, deterministic=deterministic)
            assert sums == [(parts[0] + parts[1]).tobytes()] * 2


async def summed(
    exchanges: Sequence[PeerExchange], order: StepOrder, parts: Sequence[Array], *, deterministic: bool
) -> list[bytes]:
    """What each of two workers gets, each of which owns one half of the shards."""
    found = [b"", b""]

    async def one(rank: int) -> None:
        node = (4 * rank, 4) if deterministic else (rank, 1)
        found[rank] = (await exchanges[rank].sum(order, {node: parts[rank]})).tobytes()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(one, 0)
        nursery.start_soon(one, 1)
    return found


async def test_a_newcomer_that_brings_no_part_gets_the_sum_of_the_others(peers: list[Peer]) -> None:
    exchanges = [PeerExchange(peer, ELEMENTS, SHARDS, deterministic=False) for peer in peers]
    part = np.arange(ELEMENTS, dtype=np.float32)
    found: list[bytes] = []

    async def take() -> None:
        found.append((await exchanges[1].sum(order_of([0] * SHARDS), {})).tobytes())

    with trio.fail_after(GUARD_SECONDS):
        for exchange in exchanges:
            await exchange.set_members(Generation(1), members_of(peers))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(take)
            await exchanges[0].sum(order_of([0] * SHARDS), {(0, 1): part})
    assert found == [part.tobytes()]


def heal_from(peers: list[Peer], step: int) -> Heal:
    return Heal(Step(step), Cursor(16 * step), {"applied": step}, members_of(peers))


async def test_an_offered_state_arrives_with_every_bit_bfloat16_and_scalars_included(peers: list[Peer]) -> None:
    holder, newcomer = (PeerExchange(peer, ELEMENTS, SHARDS, deterministic=False) for peer in peers)
    world = World()
    world.step(1)
    state = world.replicas[0].snapshot()
    parameters = {
        **state.parameters,
        "half": mx.arange(-3, 4, dtype=mx.float32).astype(mx.bfloat16).reshape(7, 1),
        "turned": mx.arange(12, dtype=mx.float32).reshape(3, 4).T,
        "scalar": mx.array(2.5),
    }
    mx.eval(parameters)
    offered = Snapshot(Step(1), Cursor(16), parameters, state.optimizer, {"applied": 1})
    with trio.fail_after(GUARD_SECONDS):
        await holder.offer([offered])
        fetched, size_bytes, sources = await newcomer.fetch(heal_from(peers[:1], 1))
    found = on_device(fetched)
    plain = {name: value for name, value in found.parameters.items() if name != "half"}
    assert found.parameters["half"].dtype == mx.bfloat16
    assert mx.array_equal(found.parameters["half"], parameters["half"]).item()
    del parameters["half"]
    assert state_bits(Snapshot(Step(1), Cursor(16), plain, found.optimizer)) == state_bits(
        Snapshot(Step(1), Cursor(16), parameters, state.optimizer)
    )
    assert {name: value.shape for name, value in plain.items()} == {
        name: value.shape for name, value in parameters.items()
    }
    assert (found.step, found.cursor, found.counters, sources) == (1, 16, {"applied": 1}, (0,))
    assert size_bytes == 14 + sum(value.nbytes for value in (*plain.values(), *found.optimizer.values()))


async def test_only_what_was_offered_last_is_served(peers: list[Peer]) -> None:
    holder, newcomer = (PeerExchange(peer, ELEMENTS, SHARDS, deterministic=False) for peer in peers)
    world = World()
    first = world.replicas[0].snapshot()
    world.step(1)
    second = world.replicas[0].snapshot()
    with trio.fail_after(GUARD_SECONDS):
        await holder.offer([first])
        await holder.offer([first, second])
        await holder.offer([second])
        fetched, _, _ = await newcomer.fetch(heal_from(peers[:1], 1))
        assert state_bits(on_device(fetched)) == state_bits(second)
        with pytest.raises(PeerLost):
            await newcomer.fetch(heal_from(peers[:1], 0))
