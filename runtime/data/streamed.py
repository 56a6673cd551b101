"""Samples that are read, masked and measured when a batch wants them, and forgotten soon after.

A sample that cannot be used keeps its number and has no tokens: it weighs nothing, so that order, cursor and the number
of samples never depend on what was found out when. It is counted and reported once, by the worker that was to train on
it; too many of them end the run with the same sentence as where everything is read beforehand.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.config.data import DataSettings
from runtime.data.encoder import SampleEncoder
from runtime.data.formats import Format, read_row
from runtime.data.records import Quarantined, Record
from runtime.data.rows import Rows
from runtime.data.rules import Dropped, Taken, admitted
from runtime.data.tokens import TokenDataset
from runtime.errors import DataError

FRACTION_OF = 1000
"""Before so many samples were looked at, a fraction of them says little: bad ones are counted against this number."""
_NOTHING: tuple[NDArray[np.int32], NDArray[np.uint8]] = np.zeros(0, np.int32), np.zeros(0, np.uint8)


@dataclass(frozen=True)
class Stream:
    """A source and how it is read."""

    rows: Rows
    format: Format
    columns: dict[str, str]


class StreamedSamples:
    """Samples by number, the sources one after the other. For one thread."""

    def __init__(
        self,
        data: DataSettings,
        streams: Sequence[Stream],
        encoder: SampleEncoder,
        *,
        kept: int,
        report: Callable[[Quarantined], None] = lambda _: None,
    ) -> None:
        """At most `kept` samples are in memory, or twice those of a batch. `report` hears of each bad one, once."""
        self._data, self._streams, self._encoder, self._report = data, tuple(streams), encoder, report
        self._starts = np.cumsum([0, *(stream.rows.count for stream in streams[:-1])], dtype=np.int64)
        self._count = sum(stream.rows.count for stream in streams)
        self._kept: OrderedDict[int, tuple[NDArray[np.int32], NDArray[np.uint8]]] = OrderedDict()
        self._most = kept
        self._found: dict[int, Quarantined | Dropped] = {}
        self._said: OrderedDict[int, None] = OrderedDict()
        self._looked_at = self._bad = self._dropped = 0

    def __len__(self) -> int:
        return self._count

    @property
    def sizes(self) -> tuple[int, ...]:
        """Samples of each source."""
        return tuple(stream.rows.count for stream in self._streams)

    @property
    def fingerprint(self) -> str:
        """Marks of the files, and everything that decides what becomes of their lines."""
        rules = self._data.model_dump(include={"max_length", "overlength", "mask", "train_on_stop", "system"})
        about = [rules, [[one.rows.key, one.format.name, one.columns] for one in self._streams]]
        return hashlib.blake2b(json.dumps(about, sort_keys=True).encode(), digest_size=16).hexdigest()

    @property
    def lengths(self) -> Lengths:
        """How long samples are, roughly, without tokenising them."""
        return Lengths(self._streams, self._starts)

    def sample(self, number: int) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
        """(ids, mask) of one sample; both empty where it cannot be used. Raises DataError."""
        if number not in self._kept:
            self._load([number])
        self._kept.move_to_end(number)
        return self._kept[number]

    def length(self, number: int) -> int:
        """Tokens of one sample."""
        return len(self.sample(number)[0])

    def prepare(self, numbers: Iterable[int]) -> None:
        """These are about to be trained on: they are tokenised together, and bad ones reported.

        Raises DataError when there were more bad or too long ones than allowed.
        """
        wanted = list(numbers)
        self._most = max(self._most, 2 * len(wanted))
        self._load([number for number in wanted if number not in self._kept])
        self._looked_at += len(wanted)
        for number in wanted:
            match self._found.get(number):
                case Quarantined() as bad:
                    self._bad += 1
                    if number not in self._said:
                        self._report(bad)
                    self._said[number] = None
                    self._refuse_too_many_bad(bad)
                case Dropped():
                    self._dropped += 1
                    self._refuse_too_many_dropped()
        while len(self._said) > self._most:
            self._said.popitem(last=False)

    def close(self) -> None:
        """Let go of files."""
        for stream in self._streams:
            stream.rows.close()

    def _refuse_too_many_bad(self, last: Quarantined) -> None:
        place = f"{last.file}:{last.line} {last.reason}"
        if self._data.bad_sample == "error":
            raise DataError(f'a record is malformed (data.bad_sample = "error"): {place}')
        if self._bad > self._data.max_bad_fraction * self._base:
            raise DataError(
                f"{self._bad} of the first {self._looked_at} records of this worker are malformed, more than "
                f"data.max_bad_fraction = {self._data.max_bad_fraction}; the last one: {place}"
            )

    def _refuse_too_many_dropped(self) -> None:
        if self._dropped > self._data.max_drop_fraction * self._base:
            raise DataError(
                f"{self._dropped} of the first {self._looked_at} samples of this worker are longer than "
                f"data.max_length = {self._data.max_length} tokens, more than data.max_drop_fraction = "
                f'{self._data.max_drop_fraction}; raise one of them, or set data.overlength = "truncate"'
            )

    @property
    def _base(self) -> int:
        """What a fraction is a fraction of."""
        return max(self._looked_at, min(FRACTION_OF, self._count))

    def _load(self, numbers: Sequence[int]) -> None:
        """Read and encode these into memory; the oldest ones leave it."""
        by_stream: dict[int, list[tuple[int, Record]]] = {}
        for number in numbers:
            at = int(np.searchsorted(self._starts, number, side="right")) - 1
            stream = self._streams[at]
            row = stream.rows.row(number - int(self._starts[at]))
            read = None if row is None else read_row(row, stream.format, stream.columns)
            self._keep(number, _NOTHING)
            if isinstance(read, Record):
                by_stream.setdefault(at, []).append((number, read))
            elif read is not None:
                self._found[number] = read
        for records in by_stream.values():
            encoded = self._encoder.encode([record.content for _, record in records])
            for (number, record), one in zip(records, encoded, strict=True):
                match admitted(self._data, record, one):
                    case Taken(encoded=taken):
                        self._keep(number, TokenDataset.of([taken]).sample(0))
                    case bad:
                        self._found[number] = bad

    def _keep(self, number: int, sample: tuple[NDArray[np.int32], NDArray[np.uint8]]) -> None:
        self._kept[number] = sample
        self._kept.move_to_end(number)
        while len(self._kept) > self._most:
            forgotten, _ = self._kept.popitem(last=False)
            self._found.pop(forgotten, None)


class Lengths:
    """Lengths by number, of which only those that are asked for are ever in memory."""

    def __init__(self, streams: Sequence[Stream], starts: NDArray[np.int64]) -> None:
        self._streams, self._starts = streams, starts

    def __getitem__(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        found = np.empty(len(numbers), np.int64)
        owners = np.searchsorted(self._starts, numbers, side="right") - 1
        for at, stream in enumerate(self._streams):
            here = owners == at
            found[here] = stream.rows.lengths(numbers[here] - self._starts[at])
        return found
