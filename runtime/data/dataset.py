"""The data sets of a run: read, masked, measured against the rules of `[data]`, and split.

Every sample that is not trained on is accounted for: quarantined (malformed, or not maskable), dropped (too long), or
held out. Too many of the first two end the run before it starts.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from runtime.config.data import DataSettings
from runtime.data.encoded import Encoded, MaskRules, Unmaskable
from runtime.data.encoder import SampleEncoder
from runtime.data.files import Place, find_files
from runtime.data.formats import read_records
from runtime.data.order import ENDLESS
from runtime.data.prompts import HeldOutPrompt, prompt_of
from runtime.data.records import Quarantined, Record, Records
from runtime.data.rules import Dropped, Taken, admitted
from runtime.data.tokens import Samples, TokenDataset
from runtime.errors import DataError

_ENCODED_AT_ONCE = 512


class Sample(NamedTuple):
    """A record that passed every rule."""

    record: Record
    encoded: Encoded
    source: int
    """Position of its source in the configuration."""


@dataclass(frozen=True)
class DataReport:
    """What became of the data, for the log and the plan."""

    files: tuple[str, ...]
    format_reason: str
    mask_method: str
    train_samples: int
    held_out_samples: int
    quarantined: int
    dropped: int = 0
    truncated: int = 0
    train_tokens: int = 0
    trained_tokens: int = 0
    """Tokens that are learnt, of `train_tokens`."""
    longest: int = 0
    shared_prompts: int = 0
    """Held-out prompts that training sees as well; 0 is right."""
    streamed: bool = False
    """Samples are counted, and looked at while they are trained on: nothing is known of their tokens."""

    def __str__(self) -> str:
        if self.streamed:
            count = "endless" if self.train_samples >= ENDLESS else str(self.train_samples)
            held_out = f"{self.held_out_samples} held-out samples, {self.quarantined} quarantined"
            return f"{count} streamed and {held_out}; {self.format_reason}; mask by {self.mask_method}"
        lost = f", {self.quarantined} quarantined, {self.dropped} dropped, {self.truncated} truncated"
        return (
            f"{self.train_samples} training and {self.held_out_samples} held-out samples{lost}; "
            f"{self.train_tokens} tokens, {self.trained_tokens} of them learnt; longest {self.longest}; "
            f"{self.format_reason}; mask by {self.mask_method}"
        )


@dataclass(frozen=True)
class Datasets:
    """Everything that a run trains on and is judged by."""

    train: Samples
    held_out: TokenDataset
    """Empty when the configuration holds nothing out."""
    prompts: tuple[HeldOutPrompt, ...]
    """One for each held-out sample that asks something, in their order; texts and token rows ask nothing."""
    quarantined: tuple[Quarantined, ...]
    report: DataReport
    source_sizes: tuple[int, ...] = ()
    """Training samples of each source; they follow each other in `train`."""
    examples: tuple[Sample, ...] = ()
    """The first training samples, with every token."""


@dataclass(frozen=True)
class _Source:
    """One source as it was read."""

    files: tuple[Place, ...]
    records: Records


@dataclass
class _Kept:
    """Samples that passed, and what happened to the others."""

    samples: list[Sample] = field(default_factory=list)
    quarantined: list[Quarantined] = field(default_factory=list)
    dropped: int = 0
    truncated: int = 0


def load_datasets(
    data: DataSettings, tokenizer: Any, *, base: Path = Path(), seed: int = 0, examples: int = 1
) -> Datasets:
    """Read, tokenise and split what `[data]` names; relative paths start at `base`. `examples` samples are kept whole.

    The split by `eval_fraction` depends on `seed` and on the prompts alone, and never divides equal prompts. Raises
    DataError when data is missing, when more of it is bad or too long than allowed, when the mask of the first
    conversations is all zeros or all ones, and when nothing is left.
    """
    encoder = SampleEncoder(tokenizer, MaskRules(data.mask, data.train_on_stop), data.system)
    sources = [_read(data, source.path, base, source.format, source.columns) for source in data.sources]
    kept = _keep(data, encoder, sources)
    train, held_out = kept.samples, list[Sample]()
    if data.evaluation.path:
        judged = _judged(data, encoder, base)
        held_out = judged.samples
        kept.quarantined += judged.quarantined
    elif data.evaluation.eval_fraction > 0:
        train, held_out = _split(kept.samples, data.evaluation.eval_fraction, seed)
    if not train:
        raise DataError("no training sample is left; look at data.max_length, data.mask and the files' contents")
    train_data = TokenDataset.of([sample.encoded for sample in train])
    held_out_data = TokenDataset.of([sample.encoded for sample in held_out])
    counted = Counter(sample.source for sample in train)
    return Datasets(
        train_data,
        held_out_data,
        _prompts(data, held_out),
        tuple(kept.quarantined),
        _report(encoder, sources, kept, train_data, held_out_data, _shared(train, held_out)),
        tuple(counted[position] for position in range(len(sources))),
        tuple(train[:examples]),
    )


def held_out_of(
    data: DataSettings, encoder: SampleEncoder, base: Path
) -> tuple[TokenDataset, tuple[HeldOutPrompt, ...], tuple[Quarantined, ...]]:
    """What data.eval.path holds: samples, what they ask, and what was bad; nothing where it is empty."""
    judged = _judged(data, encoder, base) if data.evaluation.path else _Kept()
    held_out = TokenDataset.of([sample.encoded for sample in judged.samples])
    return held_out, _prompts(data, judged.samples), tuple(judged.quarantined)


def _judged(data: DataSettings, encoder: SampleEncoder, base: Path) -> _Kept:
    # The columns of the first source: a held-out file is usually cut from the same cloth.
    source = _read(data, data.evaluation.path, base, data.sources[0].format, data.sources[0].columns)
    return _keep(data, encoder, [source])


def _prompts(data: DataSettings, held_out: Sequence[Sample]) -> tuple[HeldOutPrompt, ...]:
    asked = (prompt_of(sample.record.content, data.system, sample.record.instructions) for sample in held_out)
    return tuple(prompt for prompt in asked if prompt is not None)


def write_quarantine(path: Path, quarantined: Iterable[Quarantined]) -> int:
    """Write one JSON line per quarantined record and return how many there were; none leaves no file behind."""
    lines = [_as_json(one) for one in quarantined]
    if lines:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return len(lines)


def add_to_quarantine(path: Path, one: Quarantined) -> None:
    """Append one line, whole, also while other workers do so. Raises DataError where it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(_as_json(one) + "\n")
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror}") from error


def _as_json(one: Quarantined) -> str:
    return json.dumps({"file": one.file, "line": one.line, "reason": one.reason})


def _read(data: DataSettings, path: str, base: Path, data_format: str, columns: Mapping[str, str]) -> _Source:
    files = find_files(path, base)
    return _Source(files, read_records(files, data_format, columns, Path(data.cache_dir).expanduser() / "hub"))


def _keep(data: DataSettings, encoder: SampleEncoder, sources: Sequence[_Source]) -> _Kept:
    """Encode every record and apply the rules for bad and for long ones."""
    kept = _Kept(quarantined=[bad for source in sources for bad in source.records.quarantined])
    total = sum(source.records.total for source in sources)
    _refuse_too_many_bad(data, kept.quarantined, total)
    for position, source in enumerate(sources):
        taken = source.records.taken
        encoder.check([record.content for record in taken[:_ENCODED_AT_ONCE]])
        for start in range(0, len(taken), _ENCODED_AT_ONCE):
            part = taken[start : start + _ENCODED_AT_ONCE]
            for record, encoded in zip(part, encoder.encode([one.content for one in part]), strict=True):
                _keep_one(data, kept, record, encoded, position)
    _refuse_too_many_bad(data, kept.quarantined, total)
    if kept.dropped > data.max_drop_fraction * total:
        raise DataError(
            f"{kept.dropped} of {total} samples are longer than data.max_length = {data.max_length} tokens, more than "
            f'data.max_drop_fraction = {data.max_drop_fraction}; raise one of them, or set data.overlength = "truncate"'
        )
    return kept


def _keep_one(data: DataSettings, kept: _Kept, record: Record, encoded: Encoded | Unmaskable, source: int) -> None:
    match admitted(data, record, encoded):
        case Quarantined() as bad:
            kept.quarantined.append(bad)
        case Dropped():
            kept.dropped += 1
        case Taken(encoded=taken, truncated=truncated):
            kept.truncated += truncated
            kept.samples.append(Sample(record, taken, source))


def _refuse_too_many_bad(data: DataSettings, bad: Sequence[Quarantined], total: int) -> None:
    if not bad:
        return
    examples = "".join(f"\n  {one.file}:{one.line} {one.reason}" for one in bad[:3])
    if data.bad_sample == "error":
        raise DataError(f'{len(bad)} of {total} records are malformed (data.bad_sample = "error"):{examples}')
    if len(bad) > data.max_bad_fraction * total:
        raise DataError(
            f"{len(bad)} of {total} records are malformed, more than data.max_bad_fraction = "
            f"{data.max_bad_fraction}:{examples}"
        )


def _split(samples: Sequence[Sample], fraction: float, seed: int) -> tuple[list[Sample], list[Sample]]:
    """(train, held out): groups of equal openings, drawn by a hash of (seed, opening) until the fraction is full."""

    def draw(opening: str) -> bytes:
        return hashlib.blake2b(opening.encode(), key=str(seed).encode(), digest_size=8).digest()

    openings = [sample.record.content.opening for sample in samples]
    counted = Counter(openings)
    wanted, chosen = max(1, round(fraction * len(samples))), set[str]()
    for opening in sorted(counted, key=draw):
        if wanted <= 0:
            break
        chosen.add(opening)
        wanted -= counted[opening]
    train = [sample for sample, opening in zip(samples, openings, strict=True) if opening not in chosen]
    return train, [sample for sample, opening in zip(samples, openings, strict=True) if opening in chosen]


def _shared(train: Sequence[Sample], held_out: Sequence[Sample]) -> int:
    """Held-out samples whose opening training sees as well."""
    if not held_out:
        return 0
    trained_on = {sample.record.content.opening for sample in train}
    return sum(sample.record.content.opening in trained_on for sample in held_out)


def _report(
    encoder: SampleEncoder,
    sources: Sequence[_Source],
    kept: _Kept,
    train: TokenDataset,
    held_out: TokenDataset,
    shared: int,
) -> DataReport:
    return DataReport(
        files=tuple(str(file) for source in sources for file in source.files),
        format_reason="; ".join(dict.fromkeys(source.records.format_reason for source in sources)),
        mask_method=encoder.method,
        train_samples=len(train),
        held_out_samples=len(held_out),
        quarantined=len(kept.quarantined),
        dropped=kept.dropped,
        truncated=kept.truncated,
        train_tokens=len(train.ids),
        trained_tokens=train.trained_tokens,
        longest=int(np.max(train.lengths)),
        shared_prompts=shared,
    )
