"""A world whose replicas keep slices of the optimizer's state, and hand each other what they lack: no network here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from runtime.cluster.messages import Member, Order, Rest, Verdict
from runtime.cluster.slices import Holders, Portion, deal_slices, held_by
from runtime.flow import Array
from runtime.ids import Cursor, Generation, Incarnation, Rank
from runtime.trainer.engine import Local, Measured
from runtime.trainer.replica import Replica
from runtime.trainer.slices import parcels_of
from tests.unit.trainer.world import LEARNING_RATE, World, build, replica_of

SLICES = 10


@dataclass
class ShardedWorld(World):
    """One run of sharded replicas. Between two steps they are whole: every step ends with a spread."""

    copies: int = 2
    slices: int = SLICES
    in_parts: bool = False
    """Whether the sum of a slice reaches its keepers alone (a reduce-scatter), instead of everybody."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.holders = self.dealt(range(self.ranks))
        for rank, member in enumerate(self.replicas):
            member.forget()
            member.begin(held_by(Rank(rank), self.holders))

    def dealt(self, ranks: Sequence[int], holders: Holders | None = None) -> Holders:
        """Who keeps which slice among these ranks."""
        return deal_slices([Rank(rank) for rank in ranks], holders or ((),) * self.slices, self.copies)

    def new_replica(self) -> Replica:
        fields = {"shards": self.shards, "deterministic": self.deterministic, "compiled": self.compiled}
        plain = replica_of(build(), **fields, max_grad_norm=self.max_grad_norm)
        return replace(plain, model=build(), slice_count=self.slices)

    def step(self, step: int, owners: Sequence[int] | None = None, rate: float = LEARNING_RATE) -> Verdict:
        verdict = super().step(step, owners, rate)
        self.spread(self.holders)
        return verdict

    def measured(self, locals_: Mapping[int, Local], summed: Array | None) -> list[Measured]:
        if not self.in_parts:
            return super().measured(locals_, summed)
        found = []
        for rank, member in enumerate(self.replicas):
            portion = Portion(Rank(rank), self.holders)
            came = np.full(member.update.layout.size, np.nan, np.float32)
            for start, stop in map(self.span, portion.kept):
                came[start:stop] = summed[start:stop]
            found.append(member.measure(locals_[rank], came, portion))
        return found

    def spread(self, keepers: Holders, ranks: Sequence[int] | None = None) -> list[int]:
        """What the exchange does: everybody lends, and everybody gets; the bytes that came to each."""
        present = list(range(self.ranks) if ranks is None else ranks)
        order = self.boundary(keepers, present)
        lent = {rank: np.array(self.replicas[rank].lend(order, Rank(rank))) for rank in present}
        size = self.replicas[0].update.layout.size
        for parcel in parcels_of(order):
            start, stop = self.span(parcel.slice)
            kinds = lent[parcel.sender].size // size
            for target in parcel.parameters_to:
                for kind in range(kinds if target in parcel.state_to else 1):
                    part = slice(kind * size + start, kind * size + stop)
                    lent[target][part] = lent[parcel.sender][part]
        came = [self.replicas[rank].complete(order, Rank(rank), lent[rank]) for rank in present]
        self.holders = keepers
        return came

    def boundary(self, keepers: Holders, ranks: Sequence[int]) -> Order:
        """The order that stands between two steps."""
        state = next(self.replicas[rank].state for rank in ranks if self.replicas[rank].state is not None)
        assert state is not None
        members = tuple(Member(Rank(rank), Incarnation(1), "") for rank in ranks)
        head = Generation(1), members, state.step, Cursor(self.cursor), self.counters, None, Rest("")
        return Order(*head, holders=self.holders, keepers=keepers)

    def span(self, index: int) -> tuple[int, int]:
        """Where a slice lies."""
        slices = self.replicas[0].slices
        assert slices is not None
        return slices.slicing.span(index)

    def optimizer(self) -> dict[str, Any]:
        """The whole optimizer's state, put together from the pieces of all replicas that are there."""
        whole: dict[str, Any] = {}
        for member in self.replicas:
            if member.state is None:
                continue
            snapshot = member.snapshot()
            for key, (name, shape, start) in snapshot.pieces.items():
                flat = np.array(snapshot.optimizer[key])
                target = whole.setdefault(name, np.full(shape, np.nan, np.float32)).reshape(-1)
                known = target[start : start + flat.size]
                assert np.all(np.isnan(known) | (known == flat)), f"two copies of {name} differ"
                target[start : start + flat.size] = flat
        return whole
