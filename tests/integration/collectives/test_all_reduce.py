"""All-reduce over real lanes: the right sum, the same bytes everywhere, and no more traffic than the formula says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from runtime.collectives import WireDtype
from runtime.collectives.frame import HEADER_BYTES
from tests.integration.collectives.group import gradients, group

SIZES = [0, 1, 17, 999_999, 1_000_001]
LANES = pytest.mark.parametrize("shared_memory", [True, False], ids=["shared memory", "grpc"])


def worst_relative(result: np.ndarray, leaves: list[np.ndarray]) -> float:
    """Largest error against the float64 sum, relative to the magnitudes that were added."""
    if not result.size:
        return 0.0
    exact = sum(leaf.astype(np.float64) for leaf in leaves)
    scale = sum(np.abs(leaf.astype(np.float64)) for leaf in leaves)
    return float(np.max(np.abs(result - exact) / scale))


@LANES
@pytest.mark.parametrize("count", range(1, 9))
def test_every_rank_gets_the_sum_in_the_same_bytes(count: int, shared_memory: bool) -> None:
    owners = [shard % count for shard in range(8)]
    with group(count, shared_memory=shared_memory) as peers:
        for step, elements in enumerate(SIZES, 1):
            leaves = gradients(elements)
            results = peers.all_reduce(peers.plan(owners, step), leaves)
            assert len({result.tobytes() for result in results}) == 1
            assert worst_relative(results[0], leaves) <= 1e-6
        kinds = {kind for peer in peers.peers for kind in peer.lanes.values()}
        assert kinds == (set() if count == 1 else {"shared memory" if shared_memory else "grpc"})


@LANES
@pytest.mark.parametrize("count", [2, 3])
def test_bfloat16_on_the_wire_stays_within_one_percent(count: int, shared_memory: bool) -> None:
    leaves = gradients(100_001)
    with group(count, wire=WireDtype.BFLOAT16, shared_memory=shared_memory) as peers:
        results = peers.all_reduce(peers.plan([shard % count for shard in range(8)]), leaves)
        sent = [peer.stats.sent_bytes for peer in peers.peers]
    assert len({result.tobytes() for result in results}) == 1
    assert worst_relative(results[0], leaves) <= 0.01
    assert sum(sent) == pytest.approx(2 * (count - 1) * 2 * 100_001, rel=0.02)


def test_deterministic_bits_depend_neither_on_the_number_of_workers_nor_on_who_owns_what() -> None:
    leaves = gradients(5_003)
    shuffled = [3, 0, 2, 2, 1, 0, 3, 1]
    seen = set()
    for count in (1, 2, 3, 4, 8):
        with group(count) as peers:
            layouts = [[shard % count for shard in range(8)], [shard * count // 8 for shard in range(8)]]
            layouts += [shuffled] if count == 4 else []
            for step, owners in enumerate(layouts, 1):
                plan = peers.plan(owners, step, deterministic=True)
                seen |= {result.tobytes() for result in peers.all_reduce(plan, leaves)}
    assert len(seen) == 1


@LANES
def test_a_newcomer_without_shards_gets_the_same_bytes(shared_memory: bool) -> None:
    leaves = gradients(70_000)
    with group(3, shared_memory=shared_memory) as peers:
        results = peers.all_reduce(peers.plan([0, 1] * 4, extra=[2]), leaves)
        assert len({result.tobytes() for result in results}) == 1
        assert peers.peers[2].stats.sent_bytes == 0


@LANES
@pytest.mark.parametrize("count", [2, 4, 8])
def test_the_bytes_on_the_wire_are_those_of_the_formula(count: int, shared_memory: bool) -> None:
    elements = 1_000_000
    with group(count, shared_memory=shared_memory) as peers:
        peers.all_reduce(peers.plan([shard % count for shard in range(8)]), gradients(elements))
        stats = [peer.stats for peer in peers.peers]
    expected = 2 * (count - 1) / count * elements * 4
    messages = 2 * (count - 1) * (elements * 4 // (1 << 18) + 8)
    for each in stats:
        assert abs(each.sent_bytes - expected) <= 0.02 * expected + messages * HEADER_BYTES
        assert abs(each.received_bytes - expected) <= 0.02 * expected + messages * HEADER_BYTES
        assert (each.exchanges, each.stale_messages) == (1, 0)
        assert each.exchange_seconds > 0


@LANES
def test_a_hundred_steps_in_a_row_with_ranks_that_run_ahead(shared_memory: bool) -> None:
    leaves = gradients(3_000, shards=4)
    with group(3, shared_memory=shared_memory, message_bytes=1 << 10) as peers:
        plans = [peers.plan([0, 1, 2, 0], step, deterministic=True) for step in range(1, 101)]

        def run(rank: int) -> bytes:
            results = {peers.start(rank, plan, leaves).result().tobytes() for plan in plans}
            return b"" if len(results) > 1 else results.pop()

        running = [peers.run(run, rank) for rank in range(3)]
        results = {future.result() for future in running}
    assert len(results) == 1
    assert results != {b""}


def test_parts_that_do_not_fit_the_plan_are_refused_before_anything_is_sent() -> None:
    with group(1) as peers:
        peer, plan = peers.peers[0], peers.plan([0, 0])
        flat = np.zeros(8, np.float32)
        (node,) = plan.contributions[peer.rank]
        with pytest.raises(ValueError, match="where the plan says"):
            peer.all_reduce(plan, {}, out=np.zeros(8, np.float32))
        wrongs: list[Any] = [flat.astype(np.float64), np.zeros(7, np.float32), np.zeros((2, 4), np.float32)]
        for wrong in wrongs:
            with pytest.raises(ValueError, match="flat, contiguous float32"):
                peer.all_reduce(plan, {node: wrong}, out=np.zeros(8, np.float32))
        with pytest.raises(ValueError, match="must survive an abort"):
            peer.all_reduce(plan, {node: flat}, out=flat)
        with pytest.raises(ValueError, match="takes no part"):
            peer.all_reduce(peers.plan([1, 1]), {}, out=flat)


@pytest.mark.parametrize("wire", [WireDtype.FLOAT32, WireDtype.BFLOAT16])
def test_what_is_not_finite_arrives_everywhere_and_breaks_nothing(wire: WireDtype) -> None:
    leaves = [leaf.copy() for leaf in gradients(1_000)]
    leaves[0][[3, 500, 700]] = np.inf, np.inf, np.nan
    leaves[1][3] = -np.inf
    leaves[2][900] = leaves[3][900] = np.finfo(np.float32).max
    with group(2, wire=wire) as peers, np.errstate(over="ignore", invalid="ignore"):
        results = peers.all_reduce(peers.plan([0, 1, 0, 1, 0, 1, 0, 1]), leaves)
    assert results[0].tobytes() == results[1].tobytes()
    assert list(np.flatnonzero(~np.isfinite(results[0]))) == [3, 500, 700, 900]
