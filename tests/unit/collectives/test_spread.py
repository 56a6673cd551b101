"""What is spread: every span reaches its receivers and nothing else does, and it never meets the step's sum."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from runtime.collectives import Parcel, Peer, Spread
from runtime.collectives.exchange import Phase, key_of
from runtime.collectives.spread import SpreadSchedule
from runtime.errors import PeerLost
from runtime.ids import Generation, Rank, RunId, Step

GUARD_SECONDS = 60.0
RANKS = st.integers(0, 4).map(Rank)


@st.composite
def spreads(draw: st.DrawFn) -> Spread:
    cuts = sorted(draw(st.sets(st.integers(0, 200), max_size=8)) | {0, 200})
    parcels = tuple(
        Parcel(draw(RANKS), start, stop, tuple(sorted(draw(st.sets(RANKS)))))
        for start, stop in itertools.pairwise(cuts)
    )
    return Spread(Generation(1), Step(3), parcels)


@given(spreads())
def test_every_span_goes_to_its_receivers_in_messages_that_both_ends_count(plan: Spread) -> None:
    schedule = SpreadSchedule(plan, 200, 16)
    reached: dict[tuple[int, int], int] = {}
    for source in range(5):
        for target in range(5):
            transfers = schedule.at_once(Rank(source), Rank(target))
            assert schedule.messages(Rank(source), Rank(target)) == len(transfers)
            assert not transfers or {source, target} <= set(schedule.peers)
            for transfer in transfers:
                assert transfer.phase is Phase.SPREAD
                assert transfer.piece.owner == source != target
                for element in range(transfer.piece.start, transfer.piece.stop):
                    reached[target, element] = reached.get((target, element), 0) + 1
    expected = {
        (int(rank), element): 1
        for parcel in plan.parcels
        for rank in parcel.receivers
        for element in range(parcel.start, parcel.stop)
        if rank != parcel.sender
    }
    assert reached == expected


def test_what_is_spread_comes_before_the_sum_of_its_step_and_after_that_of_the_step_before() -> None:
    generation = Generation(2)
    before = key_of(generation, Step(4), Phase.ALL_GATHER)
    assert before < key_of(generation, Step(5), Phase.SPREAD) < key_of(generation, Step(5), Phase.REDUCE_SCATTER)
    assert Spread(generation, Step(5), ()).key == key_of(generation, Step(5), Phase.SPREAD)


@pytest.fixture
def peers() -> Iterator[list[Peer]]:
    opened = [Peer.open("127.0.0.1:0", RunId("spread"), Rank(rank), message_bytes=256) for rank in range(3)]
    for peer in opened:
        peer.set_members(Generation(1), {each.rank: each.address for each in opened})
    yield opened
    for peer in opened:
        peer.close()


PLAN = Spread(
    Generation(1),
    Step(1),
    (
        Parcel(Rank(0), 0, 300, (Rank(1), Rank(2))),
        Parcel(Rank(1), 300, 500, (Rank(0),)),
        Parcel(Rank(1), 500, 501, ()),
    ),
)


async def test_real_peers_fill_in_what_they_lack_to_the_bit(peers: list[Peer]) -> None:
    whole = np.random.default_rng(1).standard_normal(501).astype(np.float32)
    vectors = [np.full(501, np.nan, np.float32) for _ in peers]
    vectors[0][:300], vectors[1][300:] = whole[:300], whole[300:]
    with trio.fail_after(GUARD_SECONDS):
        async with trio.open_nursery() as nursery:
            for peer, vector in zip(peers, vectors, strict=True):
                nursery.start_soon(peer.spread, PLAN, vector)
    assert np.array_equal(vectors[0][:500], whole[:500])
    assert np.array_equal(vectors[1], whole)
    assert np.array_equal(vectors[2][:300], whole[:300])
    assert np.isnan(vectors[2][300:]).all()


async def test_whoever_neither_sends_nor_receives_is_done_at_once(peers: list[Peer]) -> None:
    vector = np.ones(4, np.float32)
    await peers[2].spread(Spread(Generation(1), Step(1), (Parcel(Rank(0), 0, 4, (Rank(1),)),)), vector)
    assert vector.tolist() == [1, 1, 1, 1]


async def test_a_sender_that_is_gone_is_told_by_name(peers: list[Peer]) -> None:
    peers[1].close()
    with trio.fail_after(GUARD_SECONDS), pytest.raises(PeerLost) as lost:
        await peers[0].spread(PLAN, np.zeros(501, np.float32))
    assert getattr(lost.value, "rank", None) == 1
