"""An abort at any moment wakes the exchange, leaves the parts alone, and the next generation works at once."""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, Future, wait

import numpy as np
import pytest
import trio

from runtime.collectives import RankLost, WireDtype
from runtime.errors import Aborted, ProtocolError
from runtime.ids import Generation
from tests.integration.collectives.group import GUARD_SECONDS, Group, gradients, group, parts_of
from tests.support.waiting import until

LANES = pytest.mark.parametrize("shared_memory", [True, False], ids=["shared memory", "grpc"])


def assert_the_next_generation_works(peers: Group) -> None:
    leaves = gradients(50_000)
    peers.adopt(range(len(peers.peers)))
    owners = [shard % len(peers.peers) for shard in range(8)]
    results = peers.all_reduce(peers.plan(owners, deterministic=True), leaves)
    assert len({result.tobytes() for result in results}) == 1
    np.testing.assert_allclose(results[0], sum(leaf.astype(np.float64) for leaf in leaves), rtol=1e-4, atol=1e-4)


@LANES
def test_an_exchange_whose_peer_never_comes_is_aborted(shared_memory: bool) -> None:
    leaves = gradients(1_000_001)
    with group(2, shared_memory=shared_memory, message_bytes=1 << 14) as peers:
        alone = peers.start(0, peers.plan([0, 1] * 4), leaves)
        blocked_in_send(peers)
        peers.peers[0].abort(peers.generation)
        with pytest.raises(Aborted, match="generation 1 was aborted"):
            alone.result(GUARD_SECONDS)
        assert_the_next_generation_works(peers)
        assert peers.peers[1].stats.stale_messages > 0


def blocked_in_send(peers: Group) -> None:
    """Return when rank 1 holds messages of an exchange that it has not begun."""
    until(lambda: peers.peers[1].stats.received_bytes > 0, within_seconds=GUARD_SECONDS, what=lambda: "nothing came")


@LANES
@pytest.mark.parametrize("moment", range(6))
def test_an_abort_in_the_middle_lets_every_rank_start_again(shared_memory: bool, moment: int) -> None:
    leaves = gradients(1_000_001)
    with group(3, shared_memory=shared_memory, message_bytes=1 << 14) as peers:
        running = [peers.start(rank, peers.plan([0, 1, 2, 0] * 2), leaves) for rank in range(3)]
        part = moment * 800_000
        until(
            lambda: peers.peers[0].stats.received_bytes >= part, within_seconds=GUARD_SECONDS, what=lambda: "no traffic"
        )
        peers.adopt(range(3))
        assert {ended(each) for each in running} <= {"aborted", "summed"}
        assert_the_next_generation_works(peers)


def ended(running: Future[np.ndarray]) -> str:
    """How an exchange ended."""
    try:
        running.result(GUARD_SECONDS)
    except Aborted:
        return "aborted"
    return "summed"


def test_an_abort_that_comes_before_the_call_counts() -> None:
    with group(2) as peers:
        peers.peers[0].abort(Generation(1))
        with pytest.raises(Aborted):
            peers.start(0, peers.plan([0, 1]), gradients(10)).result(GUARD_SECONDS)


@LANES
def test_survivors_finish_the_step_of_a_rank_that_is_gone(shared_memory: bool) -> None:
    leaves = gradients(200_000)
    with group(3, shared_memory=shared_memory) as peers:
        first = peers.all_reduce(peers.plan([0, 1, 2, 0, 1, 2, 0, 1], deterministic=True), leaves)
        plan = peers.plan([0, 1, 2, 0, 1, 2, 0, 1], 2, deterministic=True)
        running = [peers.start(rank, plan, leaves) for rank in (0, 1)]
        peers.peers[2].close()
        for each in running:
            with pytest.raises((RankLost, Aborted), match=r"rank 2 is gone"):
                each.result(GUARD_SECONDS)
        peers.adopt([0, 1])
        again = peers.all_reduce(peers.plan([0, 1, 0, 0, 1, 1, 0, 1], 2, deterministic=True), leaves)
        assert {result.tobytes() for result in again} == {first[0].tobytes()}


@LANES
def test_a_peer_that_cannot_be_reached_is_lost_at_once(shared_memory: bool) -> None:
    with group(2, shared_memory=shared_memory) as peers:
        peers.peers[1].close()
        with pytest.raises(RankLost, match="rank 1 is gone") as lost:
            peers.start(0, peers.plan([0, 1]), gradients(10)).result(GUARD_SECONDS)
        assert lost.value.rank == 1


@LANES
def test_ranks_that_disagree_about_the_size_are_told(shared_memory: bool) -> None:
    with group(2, shared_memory=shared_memory) as peers:
        plan = peers.plan([0, 1])
        running = [peers.start(0, plan, gradients(100)), peers.start(1, plan, gradients(101))]
        (first, *_), _ = wait(running, GUARD_SECONDS, FIRST_COMPLETED)
        with pytest.raises(ProtocolError, match="disagree about the model"):
            first.result()
        for peer in peers.peers:  # as the coordinator does when it hears of it
            peer.abort(peers.generation)
        assert all(isinstance(each.exception(GUARD_SECONDS), ProtocolError) for each in running)


def test_a_peer_that_is_closed_ends_its_exchange() -> None:
    with group(2) as peers:
        alone = peers.start(0, peers.plan([0, 1]), gradients(10))
        until(lambda: peers.peers[0].lanes, within_seconds=GUARD_SECONDS, what=lambda: "no lane")
        peers.peers[0].close()
        with pytest.raises(Aborted, match="closed"):
            alone.result(GUARD_SECONDS)


async def test_cancelling_the_scope_ends_the_exchange_and_its_thread() -> None:
    leaves = gradients(1_000)
    with group(2) as peers:
        plan = peers.plan([0, 1])
        with trio.move_on_after(0.05) as scope:
            await peers.peers[0].exchange(plan, parts_of(plan, 0, leaves))
        assert scope.cancelled_caught
        with pytest.raises(Aborted):
            peers.start(0, plan, leaves).result(GUARD_SECONDS)
        assert_the_next_generation_works(peers)


async def test_an_abort_reaches_a_trio_task_as_aborted() -> None:
    leaves = gradients(1_000)
    with group(2) as peers:
        plan = peers.plan([0, 1])
        with trio.fail_after(GUARD_SECONDS):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.to_thread.run_sync, peers.peers[0].abort, peers.generation)
                with pytest.raises(Aborted):
                    await peers.peers[0].exchange(plan, parts_of(plan, 0, leaves))


@pytest.mark.parametrize("wire", [WireDtype.FLOAT32, WireDtype.BFLOAT16])
async def test_two_trio_tasks_exchange(wire: WireDtype) -> None:
    leaves = gradients(40_000)
    results: dict[int, bytes] = {}
    with group(2, wire=wire) as peers, trio.fail_after(GUARD_SECONDS):
        plan = peers.plan([0, 1] * 4, extra=[])

        async def run(rank: int) -> None:
            total = await peers.peers[rank].exchange(plan, parts_of(plan, rank, leaves))
            results[rank] = total.tobytes()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, 0)
            nursery.start_soon(run, 1)
    assert results[0] == results[1]
