"""A reduce-scatter: every share of the sum reaches its keepers, whatever the lanes do, and nobody else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.collectives.codec import WireDtype
from runtime.collectives.reduction import AnySchedule
from runtime.collectives.scatter import ScatterSchedule, Share
from runtime.ids import Rank
from tests.unit.collectives.test_reduction import Cluster

ELEMENTS = 90


class Scattered(Cluster):
    """Shares of a sum, each kept by some ranks; nobody else takes part in its second hop."""

    def __init__(self, owners: list[int], keepers: list[set[int]], wire: WireDtype = WireDtype.FLOAT32) -> None:
        cuts = [ELEMENTS * number // len(keepers) for number in range(len(keepers) + 1)]
        self.shares = tuple(
            Share(Rank(min(kept)), start, stop, tuple(Rank(rank) for rank in sorted(kept)))
            for kept, start, stop in zip(keepers, cuts, cuts[1:], strict=False)
        )
        newcomers = {rank for kept in keepers for rank in kept} - set(owners)
        super().__init__(owners, tuple(newcomers), ELEMENTS, wire, deterministic=False)

    def schedule(self, elements: int) -> AnySchedule:
        return ScatterSchedule(self.plan, elements, 7, self.shares)

    def kept_by(self, rank: int) -> np.ndarray:
        """Which elements a rank keeps."""
        kept = np.zeros(ELEMENTS, bool)
        for share in self.shares:
            kept[share.start : share.stop] = rank in share.keepers
        return kept


KEEPERS = st.lists(st.sets(st.integers(0, 4), min_size=1, max_size=3), min_size=1, max_size=7)


@settings(max_examples=60)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=9), KEEPERS, st.lists(st.integers(0, 100), max_size=60))
def test_any_interleaving_brings_every_share_to_its_keepers_and_to_nobody_else(
    owners: list[int], keepers: list[set[int]], choices: list[int]
) -> None:
    cluster = Scattered(owners, keepers)
    cluster.run(choices)
    total = sum(leaf.astype(np.float64) for leaf in cluster.leaves)
    for rank, out in cluster.outs.items():
        kept = cluster.kept_by(rank)
        np.testing.assert_allclose(out[kept], total[kept], rtol=1e-5, atol=1e-5)
        assert np.isnan(out[~kept]).all()
    assert all(not lane for lane in cluster.lanes.values())


@pytest.mark.parametrize("keepers", [[{0, 1}, {1, 2}, {0, 2}], [{0}, {1}, {2}]])
def test_copies_of_a_share_are_the_same_bytes_on_a_narrow_wire(keepers: list[set[int]]) -> None:
    cluster = Scattered([0, 1, 2], keepers, WireDtype.BFLOAT16)
    cluster.run([])
    for share in cluster.shares:
        assert len({cluster.outs[rank][share.start : share.stop].tobytes() for rank in share.keepers}) == 1


def test_it_carries_half_of_what_an_all_reduce_does() -> None:
    scattered = Scattered([0, 1], [{0}, {1}])
    schedule = scattered.schedule(ELEMENTS)
    whole = Cluster([0, 1], (), ELEMENTS, WireDtype.FLOAT32, deterministic=False).schedule(ELEMENTS)

    def carried(each: AnySchedule) -> int:
        """Elements from rank 0 to rank 1: terms of what rank 1 sums, and sums of what rank 0 does."""
        terms = sum(transfer.piece.elements for transfer in each.scatter(Rank(0), Rank(1)))
        sums = [piece.elements for piece in each.owned_by(Rank(0)) if Rank(1) in each.receivers_of(piece)]
        return terms + sum(sums)

    assert carried(schedule) == ELEMENTS // 2
    assert carried(whole) == ELEMENTS
    assert schedule.messages(Rank(0), Rank(0)) == 0
    assert schedule.at_once(Rank(0), Rank(1)) == ()
