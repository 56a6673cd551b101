"""Files that a source names, and their rows; what is wrong with a line is kept with its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runtime.data.files import find_files, rows_of
from runtime.data.records import Quarantined
from runtime.errors import DataError

GOOD = {"text": "x"}


def values(file: Path) -> list[Any]:
    return [row.value for row in rows_of(file)]


def reasons(file: Path) -> list[tuple[int, str]]:
    return [(row.line, row.value.reason) for row in rows_of(file) if isinstance(row.value, Quarantined)]


def test_files_of_a_folder_and_of_a_glob_come_in_a_fixed_order(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.json", "d.parquet", "c.txt"):
        (tmp_path / name).write_text("")
    (tmp_path / "d.jsonl").mkdir()
    assert [Path(file).name for file in find_files(".", tmp_path)] == ["a.json", "b.jsonl", "d.parquet"]
    assert [Path(file).name for file in find_files("*.json*", tmp_path)] == ["a.json", "b.jsonl"]
    assert find_files(str(tmp_path / "c.txt"), Path("/elsewhere")) == (tmp_path / "c.txt",)
    assert find_files("hf:org/name", tmp_path) == ("hf:org/name",)


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"missing\.jsonl does not exist"):
        find_files("missing.jsonl", tmp_path)
    with pytest.raises(DataError, match=r"holds no \.jsonl, \.json or \.parquet file"):
        find_files(".", tmp_path)


def test_an_unreadable_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be read: Is a directory"):
        values(tmp_path)


def test_bug_18_every_line_that_is_no_object_is_kept_with_its_place_and_reason(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    deep = b"[" * 100_000
    file.write_bytes(b"\n".join([b'{"text": "x"}', b"", b"{", b"[1]", b'"\xff"', b"null", deep, b"9" * 5000]))
    found = reasons(file)
    assert [(line, reason.partition(":")[0]) for line, reason in found] == [
        (3, "not JSON"),
        (4, "not an object but list"),
        (5, "not UTF-8"),
        (6, "not an object but NoneType"),
        (7, "not JSON"),
        (8, "not JSON"),
    ]
    assert "nested too deeply" in found[4][1]
    assert values(file)[0] == GOOD


def test_a_byte_order_mark_is_no_part_of_the_first_record(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(b"\xef\xbb\xbf" + json.dumps(GOOD).encode() + b"\r\n")
    assert values(file) == [GOOD]


def test_a_json_file_holds_a_list_of_records(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(json.dumps([GOOD, 3]))
    assert values(file) == [GOOD, Quarantined(str(file), 2, "not an object but int")]


def test_a_json_file_that_holds_lines_after_all_is_read_by_lines(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text("\n".join([json.dumps(GOOD), json.dumps(GOOD), "{"]))
    assert values(file)[:2] == [GOOD, GOOD]
    assert reasons(file)[0][0] == 3


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "is not JSON"),
        ("{}", "must hold a list of records"),
        ("[1] x", "is not JSON"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_a_json_file_of_another_shape_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match=sentence):
        values(tmp_path / "a.json")
