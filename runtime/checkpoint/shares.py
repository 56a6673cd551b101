"""Who writes which tensors of a checkpoint. Pure, so that every writer comes to the same answer by itself.

The state is replicated: each writer holds all of it, and takes a share of about as many bytes as the others'. Tensors
stay whole (parameters must, see `manifest`), so the largest share exceeds the mean by less than one tensor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from runtime.flow import Snapshot

LEAST_SHARE_BYTES = 16 << 20
"""A smaller share is not worth a file of its own: one core hashes it, and a disk takes it, in some 30 ms."""


@dataclass(frozen=True)
class StateSizes:
    """Bytes of every tensor of a state, by name."""

    parameters: Mapping[str, int]
    optimizer: Mapping[str, int]

    @property
    def total_bytes(self) -> int:
        """Bytes of the whole state."""
        return sum(self.parameters.values()) + sum(self.optimizer.values())


@dataclass
class Share:
    """The tensors that one writer writes."""

    parameters: set[str] = field(default_factory=set)
    optimizer: set[str] = field(default_factory=set)
    slices: tuple[int, ...] = ()
    """Where the optimizer is sharded: of its state, these slices."""

    def of(self, snapshot: Snapshot) -> Snapshot:
        """`snapshot` with these tensors alone, by reference."""
        return Snapshot(
            snapshot.step,
            snapshot.cursor,
            {name: array for name, array in snapshot.parameters.items() if name in self.parameters},
            {name: a for name, a in snapshot.optimizer.items() if name in self.optimizer or name in snapshot.pieces},
            snapshot.counters,
            snapshot.pieces,
        )


def share_out_sliced(parameters: Mapping[str, int], slices: Sequence[Sequence[int]]) -> tuple[Share, ...]:
    """A share for every writer, perhaps an empty one: the slices of the optimizer's state that it answers for, and some
    of the parameters, by their sizes in bytes."""
    shares = share_out(StateSizes(parameters, {}), len(slices), 1)
    named = [*shares, *(Share() for _ in range(len(slices) - len(shares)))]
    return tuple(Share(share.parameters, set(), tuple(own)) for share, own in zip(named, slices, strict=True))


def share_out(sizes: StateSizes, writers: int, least_bytes: int = LEAST_SHARE_BYTES) -> tuple[Share, ...]:
    """At most `writers` shares, in the writers' order, of `least_bytes` or more each unless there is only one.

    The largest tensor first, always to the smallest share (of equals the first). No share is empty.
    """
    tensors = [(size, "o", name) for name, size in sizes.optimizer.items()]
    tensors += [(size, "p", name) for name, size in sizes.parameters.items()]
    count = max(1, min(writers, len(tensors), sizes.total_bytes // max(1, least_bytes)))
    shares = tuple(Share() for _ in range(count))
    filled_bytes = [0] * count
    for size, role, name in sorted(tensors, key=lambda tensor: (-tensor[0], tensor[1:])):
        index = filled_bytes.index(min(filled_bytes))
        filled_bytes[index] += size
        (shares[index].parameters if role == "p" else shares[index].optimizer).add(name)
    return shares
