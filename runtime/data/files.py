"""Files of records: which ones a source names, and their rows one by one with their places.

A row is a JSON object. A line that is none becomes a `Quarantined`; a whole file that cannot be read is a DataError.
"""

from __future__ import annotations

import glob
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from runtime.data.hub import is_hub_name, rows_of_hub
from runtime.data.parquet import rows_of_parquet
from runtime.data.records import Quarantined
from runtime.errors import DataError

_SUFFIXES = (".jsonl", ".json", ".parquet")


class Row(NamedTuple):
    """One record as it stands in its file, or why it is none."""

    file: str
    line: int
    value: Mapping[str, Any] | Quarantined


Place: TypeAlias = Path | str
"""A file, or the name of a data set of the hub (`hf:org/name`)."""


def find_files(path: str, base: Path) -> tuple[Place, ...]:
    """The places that a source names: a file, a folder's .jsonl, .json and .parquet files, a glob, or a hub name.

    Relative paths start at `base`. Sorted, so that the order of samples does not depend on the file system.
    Raises DataError when there are none.
    """
    if is_hub_name(path):
        return (path,)
    place = base / Path(path).expanduser()
    if place.is_file():
        return (place,)
    if place.is_dir():
        found = [file for file in place.iterdir() if file.suffix in _SUFFIXES and file.is_file()]
    else:
        found = [file for file in map(Path, glob.glob(str(place), recursive=True)) if file.is_file()]
    if not found:
        what = "holds no .jsonl, .json or .parquet file" if place.is_dir() else "does not exist"
        raise DataError(f"data.source.path: {place} {what}")
    return tuple(sorted(found))


def rows_of(place: Place, cache_dir: Path | None = None) -> Iterator[Row]:
    """Every row of a place, blank lines aside. Raises DataError when the place itself cannot be read."""
    if isinstance(place, str):
        numbered: Iterator[tuple[int, Any]] = rows_of_hub(place, cache_dir)
    elif place.suffix == ".parquet":
        numbered = rows_of_parquet(place)
    else:
        numbered = _rows_of_json(place)
    yield from rows_of_numbered(str(place), numbered)


def rows_of_numbered(place: str, numbered: Iterable[tuple[int, Any]]) -> Iterator[Row]:
    """The rows of (number from 1, value)."""
    for number, value in numbered:
        yield _row(place, number, value)


def _rows_of_json(file: Path) -> Iterator[tuple[int, Any]]:
    """(line, value or what the parser said) of a file of lines, or of one list."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}") from error
    if file.suffix == ".json" and (whole := _whole(file, content)) is not None:
        yield from enumerate(whole, 1)
        return
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").splitlines(), start=1):
        if line.strip():
            yield number, _parsed(line)


def _whole(file: Path, content: bytes) -> list[Any] | None:
    """The list in a .json file; None where the file holds lines after all."""
    try:
        value = json.loads(content)
    except json.JSONDecodeError as error:
        first = next((line for line in content.splitlines() if line.strip()), b"")
        if error.msg == "Extra data" and isinstance(_parsed(first), dict):
            return None
        raise DataError(f"{file} is not JSON: {error}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file} is not JSON: {error}") from error
    if not isinstance(value, list):
        raise DataError(f"{file} must hold a list of records, or be a .jsonl file with one record per line")
    return value


def row_of_line(file: str, number: int, line: bytes) -> Row | None:
    """The row in line `number` of a file of JSON lines; None in a blank one."""
    return _row(file, number, _parsed(line)) if line.strip() else None


def _row(place: str, number: int, value: Any) -> Row:
    if isinstance(value, dict):
        return Row(place, number, value)
    reason = _not_json(value) if isinstance(value, Exception) else f"not an object but {type(value).__name__}"
    return Row(place, number, Quarantined(place, number, reason))


def _parsed(line: bytes) -> Any:
    """The line's value, or the exception that says why it has none."""
    try:
        return json.loads(line.decode())
    except (ValueError, RecursionError) as error:
        return error


def _not_json(error: Exception) -> str:
    match error:
        case UnicodeDecodeError():
            return "not UTF-8"
        case RecursionError():
            return "not JSON: nested too deeply"
        case _:
            return f"not JSON: {error}"
