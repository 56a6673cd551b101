"""Tokenised samples in memory: one flat array of ids, one of masks, and where each sample begins."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.data.encoded import Encoded


class Lengths(Protocol):
    """Numbers by number; an array is one."""

    def __getitem__(self, numbers: NDArray[np.int64], /) -> NDArray[np.int64]:
        """Those of the samples `numbers`."""
        ...


class Samples(Protocol):
    """Tokenised samples by number, wherever they are kept."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def sample(self, number: int) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
        """(ids, mask) of one sample."""
        ...

    def length(self, number: int) -> int:
        """Tokens of one sample."""
        ...

    @property
    def lengths(self) -> Lengths:
        """How long samples are, well enough to sort by."""
        ...

    def prepare(self, numbers: Iterable[int]) -> None:
        """These are about to be trained on. Raises DataError when too much of the data is bad."""
        ...

    @property
    def fingerprint(self) -> str:
        """Identity of everything that training sees."""
        ...


@dataclass(frozen=True, eq=False)
class TokenDataset:
    """Samples 0 .. n-1. Arrays are never written after construction."""

    ids: NDArray[np.int32]
    mask: NDArray[np.uint8]
    """1 where the token is learnt; same length as `ids`."""
    offsets: NDArray[np.int64]
    """n + 1 numbers: sample i is ids[offsets[i] : offsets[i + 1]]."""

    @classmethod
    def of(cls, samples: Sequence[Encoded]) -> TokenDataset:
        """The data set of these samples. Tokens after a sample's last learnt one are cut: nothing depends on them."""
        cut = [(sample.ids[:end], sample.mask[:end]) for sample, end in ((one, _learnt_end(one)) for one in samples)]
        offsets = np.zeros(len(cut) + 1, np.int64)
        np.cumsum([len(ids) for ids, _ in cut], out=offsets[1:])
        ids = np.fromiter((token for row, _ in cut for token in row), np.int32, count=int(offsets[-1]))
        mask = np.fromiter((bit for _, row in cut for bit in row), np.uint8, count=int(offsets[-1]))
        return cls(ids, mask, offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def sample(self, number: int) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
        """(ids, mask) of one sample, as views."""
        start, end = self.offsets[number], self.offsets[number + 1]
        return self.ids[start:end], self.mask[start:end]

    def length(self, number: int) -> int:
        """Tokens of one sample."""
        return int(self.offsets[number + 1] - self.offsets[number])

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens per sample."""
        return np.diff(self.offsets)

    def prepare(self, numbers: Iterable[int]) -> None:
        """Nothing: everything is ready, and what was bad is gone."""

    @property
    def trained_tokens(self) -> int:
        """Tokens that are learnt."""
        return int(self.mask.sum())

    @cached_property
    def fingerprint(self) -> str:
        """Hash of everything that training sees; two workers, or a run and its resumption, must agree on it."""
        digest = hashlib.blake2b(digest_size=16)
        for array in (self.ids, self.mask, self.offsets):
            digest.update(np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
        return digest.hexdigest()


def _learnt_end(sample: Encoded) -> int:
    """Just past the last learnt token."""
    return next((at for at in range(len(sample.mask), 0, -1) if sample.mask[at - 1]), 0)
