"""Records in files: what is read, what shape it has, and what is wrong with the lines that are not taken.

A record that cannot be used is never dropped in silence: it becomes a `Quarantined` with file, line and reason.
"""

from __future__ import annotations

import glob
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.errors import DataError

ALPACA = "alpaca"
_TELLING_COLUMNS = {
    "sharegpt": ("conversations",),
    "messages": ("messages",),
    "prompt": ("prompt", "completion"),
    "tokens": ("input_ids",),
    "text": ("text",),
}
_SUFFIXES = (".jsonl", ".json")


@dataclass(frozen=True)
class Quarantined:
    """One record that was not taken, and why."""

    file: str
    line: int
    """From 1; in a .json file, the record's number in the list."""
    reason: str


@dataclass(frozen=True)
class Instruction:
    """One Alpaca record, checked."""

    instruction: str
    input: str
    output: str
    file: str
    line: int

    @property
    def prompt(self) -> str:
        """What the user says: the instruction, and the input on its own line when there is one."""
        return f"{self.instruction}\n{self.input}" if self.input else self.instruction


@dataclass(frozen=True)
class Records:
    """Everything that a source held."""

    taken: tuple[Instruction, ...]
    quarantined: tuple[Quarantined, ...]
    format_reason: str
    """Which format was read and why: `alpaca: train.jsonl:1 has the columns instruction, output`."""

    @property
    def total(self) -> int:
        """Records seen, good and bad."""
        return len(self.taken) + len(self.quarantined)


def find_files(path: str, base: Path) -> tuple[Path, ...]:
    """The files that a source names: a file, a folder's .jsonl and .json files, or a glob.

    Relative paths start at `base`. Sorted, so that the order of samples does not depend on the file system.
    Raises DataError when there are none.
    """
    if path.startswith("hf:"):
        raise DataError(
            f"data.source.path: {path}: hub data sets cannot be read yet; save it as JSONL and name the file"
        )
    place = base / Path(path).expanduser()
    if place.is_file():
        return (place,)
    if place.is_dir():
        found = [child for child in place.iterdir() if child.suffix in _SUFFIXES and child.is_file()]
    else:
        found = [Path(match) for match in glob.glob(str(place), recursive=True) if Path(match).is_file()]
    if not found:
        what = "holds no .jsonl or .json file" if place.is_dir() else "does not exist"
        raise DataError(f"data.source.path: {place} {what}")
    return tuple(sorted(found))


def read_records(files: tuple[Path, ...], data_format: str, columns: Mapping[str, str]) -> Records:
    """Every record of `files`. `columns` renames: {"instruction": "question"} reads `question` as the instruction.

    Raises DataError for a file that cannot be read and for a format that is not Alpaca.
    """
    taken: list[Instruction] = []
    quarantined: list[Quarantined] = []
    reason = "alpaca: the configuration says so" if data_format == ALPACA else ""
    for file in files:
        for line, record in _rows(file):
            if isinstance(record, Quarantined):
                quarantined.append(record)
                continue
            if not reason:
                reason = f"alpaca: {file.name}:{line} {_detect(record, columns, file, line)}"
            checked = _instruction(record, columns, file, line)
            if isinstance(checked, Quarantined):
                quarantined.append(checked)
            else:
                taken.append(checked)
    return Records(tuple(taken), tuple(quarantined), reason)


def _rows(file: Path) -> Iterator[tuple[int, dict[str, Any] | Quarantined]]:
    """(line, object) of each record; blank lines are no records."""
    try:
        text = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}") from error
    if file.suffix == ".json":
        yield from _rows_of_list(file, text)
        return
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            what = "not UTF-8" if isinstance(error, UnicodeDecodeError) else f"not JSON: {error}"
            yield number, Quarantined(str(file), number, what)
            continue
        yield number, _object(record, file, number)


def _rows_of_list(file: Path, text: bytes) -> Iterator[tuple[int, dict[str, Any] | Quarantined]]:
    try:
        records = json.loads(text)
    except ValueError as error:
        raise DataError(f"{file} is not JSON: {error}") from error
    if not isinstance(records, list):
        raise DataError(f"{file} must hold a list of records, or be a .jsonl file with one record per line")
    for number, record in enumerate(records, start=1):
        yield number, _object(record, file, number)


def _object(record: Any, file: Path, line: int) -> dict[str, Any] | Quarantined:
    if isinstance(record, dict):
        return record
    return Quarantined(str(file), line, f"not an object but {type(record).__name__}")


def _detect(record: Mapping[str, Any], columns: Mapping[str, str], file: Path, line: int) -> str:
    """Why this record is Alpaca. Raises DataError, naming what it looks like, when it is not."""
    names = [columns.get(name, name) for name in ("instruction", "output")]
    if all(name in record for name in names):
        return f"has the columns {', '.join(names)}"
    looks = next((kind for kind, telling in _TELLING_COLUMNS.items() if all(name in record for name in telling)), "")
    guess = (
        f"looks like {looks}, which cannot be read yet" if looks else f"has the columns {', '.join(record) or '(none)'}"
    )
    raise DataError(
        f"{file}:{line} {guess}; Alpaca needs instruction and output (rename with [data.source.columns], "
        'or say format = "alpaca" to quarantine such lines)'
    )


def _instruction(
    record: Mapping[str, Any], columns: Mapping[str, str], file: Path, line: int
) -> Instruction | Quarantined:
    """The record's three texts, or what is wrong with them."""
    texts = {}
    for name in ("instruction", "input", "output"):
        column = columns.get(name, name)
        value = record.get(column)
        if value is None and name == "input":
            value = ""
        if not isinstance(value, str):
            what = "is missing" if column not in record else f"is not a text but {type(value).__name__}"
            return Quarantined(str(file), line, f"column {column} {what}")
        if not value.strip() and name != "input":
            return Quarantined(str(file), line, f"column {column} is empty")
        texts[name] = value
    return Instruction(**texts, file=str(file), line=line)
