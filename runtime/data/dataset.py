"""The data sets of a run: read, masked, measured against the rules of `[data]`, and split.

Every sample that is not trained on is accounted for: quarantined (malformed, or not maskable), dropped (too long), or
held out. Too many of the first two end the run before it starts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from runtime.config.data import DataSettings
from runtime.data.chat import ChatEncoder, Encoded, MaskRules, Message, Unmaskable, alpaca_messages
from runtime.data.formats import Instruction, Quarantined, Records, find_files, read_records
from runtime.data.tokens import TokenDataset
from runtime.errors import DataError

_ENCODED_AT_ONCE = 512


@dataclass(frozen=True)
class HeldOutPrompt:
    """A question that training never sees, and the answer it should get."""

    messages: tuple[Message, ...]
    answer: str


@dataclass(frozen=True)
class DataReport:
    """What became of the data, for the log and the plan."""

    files: tuple[str, ...]
    format_reason: str
    mask_method: str
    train_samples: int
    held_out_samples: int
    quarantined: int
    dropped: int
    truncated: int
    train_tokens: int
    trained_tokens: int
    """Tokens that are learnt, of `train_tokens`."""
    longest: int
    shared_prompts: int
    """Held-out prompts that training sees as well; 0 is right."""

    def __str__(self) -> str:
        lost = f", {self.quarantined} quarantined, {self.dropped} dropped, {self.truncated} truncated"
        return (
            f"{self.train_samples} training and {self.held_out_samples} held-out samples{lost}; "
            f"{self.train_tokens} tokens, {self.trained_tokens} of them learnt; longest {self.longest}; "
            f"{self.format_reason}; mask by {self.mask_method}"
        )


@dataclass(frozen=True)
class Datasets:
    """Everything that a run trains on and is judged by."""

    train: TokenDataset
    held_out: TokenDataset
    """Empty when the configuration holds nothing out."""
    prompts: tuple[HeldOutPrompt, ...]
    """prompts[i] asks what held_out's sample i answers."""
    quarantined: tuple[Quarantined, ...]
    report: DataReport


_Samples: TypeAlias = list[tuple[Instruction, Encoded]]


@dataclass(frozen=True)
class _Source:
    """One source as it was read."""

    files: tuple[Path, ...]
    records: Records


@dataclass
class _Kept:
    """Samples that passed, and what happened to the others."""

    samples: _Samples
    quarantined: list[Quarantined]
    dropped: int = 0
    truncated: int = 0


def load_datasets(data: DataSettings, tokenizer: Any, *, base: Path = Path(), seed: int = 0) -> Datasets:
    """Read, tokenise and split what `[data]` names; relative paths start at `base`.

    The split by `eval_fraction` depends on `seed` and on the prompts alone, and never divides equal prompts. Raises
    DataError when data is missing, when more of it is bad or too long than allowed, or when nothing is left.
    """
    encoder = ChatEncoder(tokenizer, MaskRules(data.mask, data.train_on_stop))
    sources = [_read(source.path, base, source.format, source.columns) for source in data.sources]
    kept = _keep(data, encoder, sources)
    train: _Samples = kept.samples
    held_out: _Samples = []
    if data.evaluation.path:
        # The columns of the first source: a held-out file is usually cut from the same cloth.
        source = _read(data.evaluation.path, base, data.sources[0].format, data.sources[0].columns)
        judged = _keep(data, encoder, [source])
        held_out = judged.samples
        kept.quarantined += judged.quarantined
    elif data.evaluation.eval_fraction > 0:
        train, held_out = _split(kept.samples, data.evaluation.eval_fraction, seed)
    if not train:
        raise DataError("no training sample is left; look at data.max_length, data.mask and the files' contents")
    return _datasets(data, encoder, sources, train=train, held_out=held_out, kept=kept)


def write_quarantine(path: Path, quarantined: Iterable[Quarantined]) -> int:
    """Write one JSON line per quarantined record and return how many there were; none leaves no file behind."""
    lines = [json.dumps({"file": one.file, "line": one.line, "reason": one.reason}) for one in quarantined]
    if lines:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return len(lines)


def _read(path: str, base: Path, data_format: str, columns: Mapping[str, str]) -> _Source:
    files = find_files(path, base)
    return _Source(files, read_records(files, data_format, columns))


def _keep(data: DataSettings, encoder: ChatEncoder, sources: Sequence[_Source]) -> _Kept:
    """Encode every record and apply the rules for bad and for long ones."""
    kept = _Kept([], [bad for source in sources for bad in source.records.quarantined])
    taken = [record for source in sources for record in source.records.taken]
    for start in range(0, len(taken), _ENCODED_AT_ONCE):
        part = taken[start : start + _ENCODED_AT_ONCE]
        conversations = [alpaca_messages(record.prompt, record.output, data.system) for record in part]
        for record, encoded in zip(part, encoder.encode(conversations), strict=True):
            _keep_one(data, kept, record, encoded)
    total = sum(source.records.total for source in sources)
    _refuse_too_many_bad(data, kept.quarantined, total)
    if kept.dropped > data.max_drop_fraction * total:
        raise DataError(
            f"{kept.dropped} of {total} samples are longer than data.max_length = {data.max_length} tokens, more than "
            f'data.max_drop_fraction = {data.max_drop_fraction}; raise one of them, or set data.overlength = "truncate"'
        )
    return kept


def _keep_one(data: DataSettings, kept: _Kept, record: Instruction, encoded: Encoded | Unmaskable) -> None:
    if isinstance(encoded, Unmaskable):
        kept.quarantined.append(Quarantined(record.file, record.line, str(encoded)))
        return
    if not any(encoded.mask):
        kept.quarantined.append(Quarantined(record.file, record.line, "no token of it would be learnt"))
        return
    if len(encoded.ids) > data.max_length:
        if data.overlength == "error":
            raise DataError(
                f"{record.file}:{record.line} has {len(encoded.ids)} tokens, more than data.max_length = "
                f'{data.max_length}; raise it, or set data.overlength to "drop" or "truncate"'
            )
        encoded = Encoded(encoded.ids[: data.max_length], encoded.mask[: data.max_length])
        if data.overlength == "drop" or not any(encoded.mask):  # a truncated prompt without its answer teaches nothing
            kept.dropped += 1
            return
        kept.truncated += 1
    kept.samples.append((record, encoded))


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


def _split(samples: _Samples, fraction: float, seed: int) -> tuple[_Samples, _Samples]:
    """(train, held out): groups of equal prompts, drawn by a hash of (seed, prompt) until the fraction is full."""

    def draw(prompt: str) -> bytes:
        return hashlib.blake2b(prompt.encode(), key=str(seed).encode(), digest_size=8).digest()

    counted: dict[str, int] = {}
    for record, _ in samples:
        counted[record.prompt] = counted.get(record.prompt, 0) + 1
    wanted, chosen = max(1, round(fraction * len(samples))), set[str]()
    for prompt in sorted(counted, key=draw):
        if wanted <= 0:
            break
        chosen.add(prompt)
        wanted -= counted[prompt]
    train = [sample for sample in samples if sample[0].prompt not in chosen]
    return train, [sample for sample in samples if sample[0].prompt in chosen]


def _datasets(
    data: DataSettings,
    encoder: ChatEncoder,
    sources: Sequence[_Source],
    *,
    train: _Samples,
    held_out: _Samples,
    kept: _Kept,
) -> Datasets:
    train_data = TokenDataset.of([encoded for _, encoded in train])
    held_out_data = TokenDataset.of([encoded for _, encoded in held_out])
    trained_on = {record.prompt for record, _ in train}
    report = DataReport(
        files=tuple(str(file) for source in sources for file in source.files),
        format_reason="; ".join(dict.fromkeys(source.records.format_reason for source in sources)),
        mask_method=encoder.method,
        train_samples=len(train_data),
        held_out_samples=len(held_out_data),
        quarantined=len(kept.quarantined),
        dropped=kept.dropped,
        truncated=kept.truncated,
        train_tokens=len(train_data.ids),
        trained_tokens=train_data.trained_tokens,
        longest=int(np.max(train_data.lengths)),
        shared_prompts=sum(record.prompt in trained_on for record, _ in held_out),
    )
    prompts = tuple(
        HeldOutPrompt(tuple(alpaca_messages(record.prompt, "", data.system)[:-1]), record.output)
        for record, _ in held_out
    )
    return Datasets(train_data, held_out_data, prompts, tuple(kept.quarantined), report)
