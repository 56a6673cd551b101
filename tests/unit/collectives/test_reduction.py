"""One exchange without lanes: messages are moved by hand, in any order that lanes could produce."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.collectives.codec import WireDtype
from runtime.collectives.exchange import Plan, Schedule
from runtime.collectives.fold import Scratch
from runtime.collectives.frame import Header
from runtime.collectives.reduction import AnySchedule, RankLost, Reduction
from runtime.collectives.tree import combine, cover
from runtime.errors import Aborted, ProtocolError
from runtime.flow import Node
from runtime.ids import Generation, Rank, Step

RUN = 77
GUARD_SECONDS = 60.0


class Cluster:
    """Every rank's side of one exchange in this thread; `lanes` hold what was sent and not yet delivered."""

    def __init__(
        self, owners: list[int], newcomers: tuple[int, ...], elements: int, wire: WireDtype, *, deterministic: bool
    ) -> None:
        total = len(owners)
        rng = np.random.default_rng(elements)
        self.leaves = [rng.standard_normal(elements).astype(np.float32) for _ in range(total)]
        nodes = {
            Rank(rank): cover([shard for shard, owner in enumerate(owners) if owner == rank], total)
            for rank in sorted(set(owners))
        }
        ranks = tuple(Rank(rank) for rank in sorted({*owners, *newcomers}))
        self.plan = Plan(Generation(1), Step(1), nodes, ranks, total, deterministic)
        self.parts = {rank: {node: self.sum_of(node) for node in nodes.get(rank, ())} for rank in ranks}
        self.outs = {rank: np.full(elements, np.nan, np.float32) for rank in ranks}
        schedule = self.schedule(elements)
        self.reductions = {
            rank: Reduction(
                schedule, rank=rank, run=RUN, parts=self.parts[rank], out=self.outs[rank], wire=wire,
                pool=Scratch(7), kick=lambda _: None,
            )
            for rank in ranks
        }  # fmt: skip
        self.lanes: dict[tuple[Rank, Rank], deque[tuple[Header, np.ndarray]]] = {
            (source, target): deque() for source in ranks for target in ranks if source != target
        }
        self.released = 0

    def schedule(self, elements: int) -> AnySchedule:
        return Schedule(self.plan, elements, 24, 7)

    def sum_of(self, node: Node) -> np.ndarray:
        total = len(self.leaves)
        leaves = {(shard, 1): self.leaves[shard] for shard in range(node[0], min(sum(node), total))}
        return combine({(n[0] - node[0], n[1]): v for n, v in leaves.items()}, len(leaves))

    def send(self, source: Rank, target: Rank) -> bool:
        outgoing = self.reductions[source].take(target)
        if outgoing is None:
            return False
        payload = np.empty(outgoing.payload_bytes, np.uint8)
        direct = outgoing.direct()
        if direct is None:
            outgoing.write(payload)
        else:
            payload[:] = np.frombuffer(direct, np.uint8)
        outgoing.done()
        self.lanes[source, target].append((outgoing.header, payload))
        return True

    def deliver(self, source: Rank, target: Rank) -> bool:
        if not self.lanes[source, target]:
            return False
        header, payload = self.lanes[source, target].popleft()
        self.reductions[target].deliver(source, header, payload, self.count_release)
        return True

    def count_release(self) -> None:
        self.released += 1

    def run(self, choices: list[int]) -> None:
        """Move messages; `choices` prefer one lane or another until they are used up."""
        for reduction in self.reductions.values():
            reduction.begin()
        moves = [(move, *lane) for move in (self.send, self.deliver) for lane in self.lanes]
        preferred = deque(choices)
        while moves:
            start = preferred.popleft() % len(moves) if preferred else 0
            if not any(move(source, target) for move, source, target in moves[start:] + moves[:start]):
                break
        for reduction in self.reductions.values():
            reduction.wait()


@settings(max_examples=60)
@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=9),
    st.sets(st.integers(4, 5)),
    st.integers(0, 90),
    st.lists(st.integers(0, 100), max_size=60),
    st.booleans(),
)
def test_any_interleaving_of_lanes_gives_every_rank_the_same_right_bytes(
    owners: list[int], newcomers: set[int], elements: int, choices: list[int], deterministic: bool
) -> None:
    cluster = Cluster(owners, tuple(newcomers), elements, WireDtype.FLOAT32, deterministic=deterministic)
    before = {rank: {node: part.copy() for node, part in parts.items()} for rank, parts in cluster.parts.items()}
    cluster.run(choices)
    results = {out.tobytes() for out in cluster.outs.values()}
    assert len(results) == 1
    total = sum(leaf.astype(np.float64) for leaf in cluster.leaves)
    np.testing.assert_allclose(cluster.outs[cluster.plan.owners[0]], total, rtol=1e-5, atol=1e-5)
    if deterministic:
        assert results == {combine({(i, 1): leaf for i, leaf in enumerate(cluster.leaves)}, len(owners)).tobytes()}
    for rank, parts in cluster.parts.items():
        assert all(np.array_equal(part, before[rank][node]) for node, part in parts.items())
    assert all(not lane for lane in cluster.lanes.values())


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_bfloat16_gives_all_ranks_the_same_bytes_within_one_percent(ranks: int) -> None:
    cluster = Cluster([shard % ranks for shard in range(8)], (5,), 83, WireDtype.BFLOAT16, deterministic=False)
    cluster.run([])
    assert len({out.tobytes() for out in cluster.outs.values()}) == 1
    total = sum(leaf.astype(np.float64) for leaf in cluster.leaves)
    error = np.linalg.norm(cluster.outs[Rank(0)] - total) / np.linalg.norm(total)
    assert error <= 0.01


def test_deterministic_sums_ignore_a_narrow_wire() -> None:
    cluster = Cluster([0, 1, 0], (), 20, WireDtype.BFLOAT16, deterministic=True)
    cluster.run([])
    assert cluster.outs[Rank(0)].tobytes() == combine({(i, 1): v for i, v in enumerate(cluster.leaves)}, 3).tobytes()


def two() -> Cluster:
    cluster = Cluster([0, 1], (), 40, WireDtype.FLOAT32, deterministic=False)
    for reduction in cluster.reductions.values():
        reduction.begin()
    return cluster


def test_after_a_failure_nothing_is_taken_and_what_comes_is_returned_unused() -> None:
    cluster = two()
    assert cluster.send(Rank(0), Rank(1))
    failed = cluster.reductions[Rank(1)]
    failed.fail(Aborted("the first reason counts"))
    failed.fail(Aborted("a later one does not"))
    assert failed.take(Rank(0)) is None
    header, payload = cluster.lanes[Rank(0), Rank(1)].popleft()
    assert not failed.deliver(Rank(0), header, payload, cluster.count_release)
    assert cluster.released == 1
    with pytest.raises(Aborted, match="the first reason counts"):
        failed.wait()


def test_a_failure_waits_for_the_message_that_is_being_copied() -> None:
    cluster = two()
    reduction = cluster.reductions[Rank(0)]
    outgoing = reduction.take(Rank(1))
    assert outgoing is not None
    reduction.fail(Aborted("stop"))
    raised = threading.Event()

    def wait() -> None:
        with pytest.raises(Aborted):
            reduction.wait()
        raised.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert not raised.is_set()
    outgoing.done()
    assert raised.wait(GUARD_SECONDS)
    thread.join()


def test_a_lost_peer_matters_only_while_something_is_due_in_that_direction() -> None:
    cluster = two()
    reduction = cluster.reductions[Rank(0)]
    reduction.lost(Rank(1), incoming=False, outgoing=False)
    reduction.lost(Rank(9), incoming=True, outgoing=True)
    for _ in range(20):
        cluster.send(Rank(0), Rank(1))
        cluster.send(Rank(1), Rank(0))
        cluster.deliver(Rank(0), Rank(1))
        cluster.deliver(Rank(1), Rank(0))
    reduction.lost(Rank(1), incoming=True, outgoing=True)
    reduction.wait()
    assert cluster.outs[Rank(0)].tobytes() == cluster.outs[Rank(1)].tobytes()


@pytest.mark.parametrize(("incoming", "outgoing"), [(True, False), (False, True)])
def test_a_peer_that_is_lost_in_the_middle_is_named(incoming: bool, outgoing: bool) -> None:
    reduction = two().reductions[Rank(0)]
    reduction.lost(Rank(1), incoming=incoming, outgoing=outgoing)
    with pytest.raises(RankLost, match="rank 1 is gone in the exchange of step 1") as lost:
        reduction.wait()
    assert lost.value.rank == 1


@pytest.mark.parametrize("change", ["elements", "wire", "piece", "start", "term", "owner", "length"])
def test_a_message_that_does_not_fit_the_schedule_ends_the_exchange(change: str) -> None:
    cluster = two()
    cluster.send(Rank(0), Rank(1))
    header, payload = cluster.lanes[Rank(0), Rank(1)].popleft()
    wrong = {
        "elements": replace(header, elements=41),
        "wire": replace(header, wire=WireDtype.BFLOAT16),
        "piece": replace(header, piece=999),
        "start": replace(header, start=header.start + 1),
        "term": replace(header, term=1),
        "owner": replace(header, phase=type(header.phase).ALL_GATHER),
        "length": header,
    }[change]
    target = cluster.reductions[Rank(1)]
    target.deliver(Rank(0), wrong, payload[:-4] if change == "length" else payload, cluster.count_release)
    with pytest.raises(ProtocolError, match="disagree about the model"):
        target.wait()
    assert cluster.released == 1


def test_parts_are_added_on_the_way_to_either_wire() -> None:
    cluster = Cluster([0, 1, 0, 1], (), 8, WireDtype.BFLOAT16, deterministic=False)
    outgoing = cluster.reductions[Rank(0)].take(Rank(1))
    assert outgoing is not None
    assert outgoing.direct() is None
    assert len(outgoing.views) == 2
    payload = np.empty(outgoing.payload_bytes, np.uint8)
    outgoing.write(payload)
    outgoing.done()
    widened = (payload.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    np.testing.assert_allclose(widened, sum(outgoing.views), rtol=2**-8)
