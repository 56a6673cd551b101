"""Formats of records: which one a source has, and what each record says in it.

A format is its telling columns and a reader from a row to a `Content`. `auto` takes the first format whose telling
columns an early record has, and says which and why; the others' records are quarantined, not guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeAlias

from runtime.data.files import Place, Row, rows_of
from runtime.data.instructions import instructions_of
from runtime.data.messages import conversation, text_of
from runtime.data.records import (
    Completion,
    Content,
    Conversation,
    Malformed,
    PlainText,
    Quarantined,
    Record,
    Records,
    TokenRow,
)
from runtime.errors import DataError

LOOKED_AT = 32
"""Rows that `auto` may look at before it gives up."""
_MASK_COLUMNS = ("assistant_masks", "completion_mask", "loss_mask", "mask")
_NOT_LEARNT = -100
"""The label that every library ignores."""

Reader: TypeAlias = Callable[["_Columns"], Content]


@dataclass(frozen=True)
class Format:
    """One way to write a sample."""

    name: str
    telling: tuple[str, ...]
    """The columns that every record of it has."""
    read: Reader


@dataclass(frozen=True)
class _Columns:
    """A row under the names that a format uses."""

    row: Mapping[str, Any]
    renamed: Mapping[str, str]

    def spelled(self, name: str) -> str:
        """The column's name in the file."""
        return self.renamed.get(name, name)

    def __contains__(self, name: str) -> bool:
        return self.spelled(name) in self.row

    def get(self, name: str) -> Any:
        """The value, None where there is none."""
        return self.row.get(self.spelled(name))

    def text(self, name: str, *, filled: bool = True) -> str:
        """The text in this column. Raises Malformed where it is missing, no text, or empty against `filled`."""
        if name not in self:
            raise Malformed(f"column {self.spelled(name)} is missing")
        value = text_of(self.get(name), f"column {self.spelled(name)}")
        if filled and not value.strip():
            raise Malformed(f"column {self.spelled(name)} is empty")
        return value

    def optional_text(self, name: str) -> str:
        """The text in this column; empty where it is missing or null."""
        return "" if self.get(name) is None else self.text(name, filled=False)


def read_records(
    files: Sequence[Place], data_format: str, columns: Mapping[str, str], cache_dir: Path | None = None
) -> Records:
    """Every record of `files`. `columns` renames: {"instruction": "question"} reads `question` as the instruction.

    Raises DataError for a file that cannot be read, and with `auto` for records of no known format.
    """
    rows = iter(chain.from_iterable(rows_of(file, cache_dir) for file in files))
    first = list(islice(rows, LOOKED_AT))
    chosen, reason = choose_format(first, data_format, columns)
    taken: list[Record] = []
    quarantined: list[Quarantined] = []
    for row in chain(first, rows):
        read = read_row(row, chosen, columns)
        if isinstance(read, Record):
            taken.append(read)
        else:
            quarantined.append(read)
    return Records(tuple(taken), tuple(quarantined), reason)


def choose_format(rows: Iterable[Row], data_format: str, columns: Mapping[str, str]) -> tuple[Format, str]:
    """The format of the configuration, or of the first of these rows that tells one; and the reason.

    Raises DataError with `auto` for rows of no known format.
    """
    if data_format == "auto":
        return _detect(rows, columns)
    chosen = next(one for one in FORMATS if one.name == data_format)
    return chosen, f"{chosen.name}: the configuration says so"


def read_row(row: Row, chosen: Format, columns: Mapping[str, str]) -> Record | Quarantined:
    """What the row says, or why it says nothing."""
    if isinstance(row.value, Quarantined):
        return row.value
    try:
        content = chosen.read(_Columns(row.value, columns))
        return Record(content, row.file, row.line, instructions_of(row.value))
    except Malformed as error:
        return Quarantined(row.file, row.line, str(error))


def _detect(rows: Iterable[Row], columns: Mapping[str, str]) -> tuple[Format, str]:
    """The format of the first row that has one, and the reason. Raises DataError when there are rows and none has."""
    objects = [(row, _Columns(row.value, columns)) for row in rows if not isinstance(row.value, Quarantined)]
    for row, found in objects:
        for one in FORMATS:
            if all(name in found for name in one.telling):
                place = f"{Path(row.file).name}:{row.line}" if not row.file.startswith("hf:") else row.file
                spelled = ", ".join(found.spelled(name) for name in one.telling)
                plural = "s" if len(one.telling) > 1 else ""
                return one, f"{one.name}: {place} has the column{plural} {spelled}"
    if not objects:
        return FORMATS[0], "no record"
    row, found = objects[0]
    known = "; ".join(f"{one.name} has {', '.join(one.telling)}" for one in FORMATS)
    raise DataError(
        f"{row.file}:{row.line} has the columns {', '.join(found.row) or '(none)'}, which is no known format "
        f"({known}); rename columns with [data.source.columns]"
    )


def _alpaca(columns: _Columns) -> Conversation:
    """An instruction, an input on its own line when there is one, and the answer."""
    instruction, given = columns.text("instruction"), columns.optional_text("input")
    prompt = f"{instruction}\n{given}" if given else instruction
    turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": columns.text("output")}]
    return conversation(turns, system=columns.get("system"))


def _messages(name: str) -> Reader:
    """A column with a conversation, in either dialect, beside tools and a system message."""

    def read(columns: _Columns) -> Conversation:
        if columns.get(name) is None:
            raise Malformed(f"column {columns.spelled(name)} is missing")
        turns = columns.get(name)
        if isinstance(turns, Sequence) and not turns:
            raise Malformed(f"column {columns.spelled(name)} is empty")
        tools = columns.get("tools")
        older = columns.get("functions")  # what tools were called before 2023-11
        if tools is None and isinstance(older, list):
            tools = [{"type": "function", "function": one} for one in older]
        return conversation(turns, tools=tools, system=columns.get("system"))

    return read


def _prompt(columns: _Columns) -> Completion | Conversation:
    """Two texts, or two halves of a conversation."""
    prompt, completion = columns.get("prompt"), columns.get("completion")
    if isinstance(prompt, list) and isinstance(completion, list):
        return conversation([*prompt, *completion], tools=columns.get("tools"), completion_from=len(prompt))
    return Completion(columns.text("prompt"), columns.text("completion"))


def _text(columns: _Columns) -> PlainText:
    return PlainText(columns.text("text"))


def _tokens(columns: _Columns) -> TokenRow:
    """Ids, with labels (-100: not learnt) or a mask of zeros and ones; labels count where both are given."""
    ids = _integers(columns, "input_ids")
    if not ids:
        raise Malformed(f"column {columns.spelled('input_ids')} is empty")
    kept = len(ids)
    if columns.get("attention_mask") is not None:
        attended = _integers(columns, "attention_mask", len(ids))
        kept = sum(attended)
        if attended != (1,) * kept + (0,) * (len(ids) - kept):
            raise Malformed(f"column {columns.spelled('attention_mask')} is no row of ones before padding")
    mask = (1,) * len(ids)
    if columns.get("labels") is not None:
        labels = _integers(columns, "labels", len(ids))
        wrong = next((at for at, label in enumerate(labels) if label not in (_NOT_LEARNT, ids[at])), None)
        if wrong is not None:
            raise Malformed(f"label {wrong} is {labels[wrong]}, neither -100 nor the token {ids[wrong]}")
        mask = tuple(int(label != _NOT_LEARNT) for label in labels)
    elif name := next((name for name in _MASK_COLUMNS if columns.get(name) is not None), None):
        mask = _integers(columns, name, len(ids))
        if not set(mask) <= {0, 1}:
            raise Malformed(f"column {columns.spelled(name)} holds more than zeros and ones")
    return TokenRow(ids[:kept], mask[:kept])


def _integers(columns: _Columns, name: str, length: int | None = None) -> tuple[int, ...]:
    """The list of whole numbers in this column, of this length. Raises Malformed."""
    value = columns.get(name)
    if not isinstance(value, list) or not all(isinstance(number, int) for number in value):
        raise Malformed(f"column {columns.spelled(name)} is not a list of whole numbers")
    if length is not None and len(value) != length:
        raise Malformed(f"column {columns.spelled(name)} has {len(value)} numbers for {length} tokens")
    return tuple(map(int, value))


FORMATS: tuple[Format, ...] = (
    Format("messages", ("messages",), _messages("messages")),
    Format("sharegpt", ("conversations",), _messages("conversations")),
    Format("alpaca", ("instruction", "output"), _alpaca),
    Format("prompt", ("prompt", "completion"), _prompt),
    Format("tokens", ("input_ids",), _tokens),
    Format("text", ("text",), _text),
)
"""Every format, the more telling ones first: Alpaca's files have a column `text` as well."""
