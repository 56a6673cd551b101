"""Records of every kind of file; what is wrong with a line is kept with its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runtime.data.formats import Quarantined, find_files, read_records
from runtime.errors import DataError

GOOD = {"instruction": "Add.", "input": "1 + 2", "output": "3"}


def write(path: Path, *lines: Any) -> Path:
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines) + "\n")
    return path


def test_instruction_and_input_stand_on_two_lines_and_no_input_leaves_none(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", GOOD, {"instruction": "Say hi.", "output": "hi"}, {**GOOD, "input": None})
    taken = read_records((file,), "alpaca", {}).taken
    assert [record.prompt for record in taken] == ["Add.\n1 + 2", "Say hi.", "Add."]
    assert [(record.output, record.line) for record in taken] == [("3", 1), ("hi", 2), ("3", 3)]


def test_every_bad_line_is_kept_with_its_place_and_reason(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    bad = [
        b"{",
        b"[1]",
        b'{"instruction": "x"}',
        b'{"instruction": "", "output": "y"}',
        b'{"instruction": 1, "output": ""}',
    ]
    file.write_bytes(b"\n".join([json.dumps(GOOD).encode(), b"", *bad, b'"\xff"']))
    records = read_records((file,), "auto", {})
    assert [(one.line, one.reason.partition(":")[0]) for one in records.quarantined] == [
        (3, "not JSON"),
        (4, "not an object but list"),
        (5, "column output is missing"),
        (6, "column instruction is empty"),
        (7, "column instruction is not a text but int"),
        (8, "not UTF-8"),
    ]
    assert {one.file for one in records.quarantined} == {str(file)}
    assert (len(records.taken), records.total) == (1, 7)


def test_columns_are_renamed(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", {"question": "q", "answer": "a", "context": "c"}, {"question": "q"})
    columns = {"instruction": "question", "output": "answer", "input": "context"}
    records = read_records((file,), "auto", columns)
    assert (records.taken[0].prompt, records.taken[0].output) == ("q\nc", "a")
    assert records.quarantined[0].reason == "column answer is missing"
    assert records.format_reason == "alpaca: a.jsonl:1 has the columns question, answer"


def test_a_json_file_holds_a_list_of_records(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([GOOD, 3]))
    records = read_records((tmp_path / "a.json",), "auto", {})
    assert records.taken[0].output == "3"
    assert records.quarantined == (Quarantined(str(tmp_path / "a.json"), 2, "not an object but int"),)


@pytest.mark.parametrize(("text", "sentence"), [("{", "is not JSON"), ("{}", "must hold a list of records")])
def test_a_json_file_of_another_shape_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match=sentence):
        read_records((tmp_path / "a.json",), "auto", {})


def test_a_configured_format_needs_no_detection_and_says_so(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", {"text": "x"}, GOOD)
    records = read_records((file,), "alpaca", {})
    assert records.format_reason == "alpaca: the configuration says so"
    assert (len(records.taken), len(records.quarantined)) == (1, 1)


@pytest.mark.parametrize(
    ("record", "guess"),
    [
        ({"conversations": []}, "looks like sharegpt, which cannot be read yet"),
        ({"messages": []}, "looks like messages"),
        ({"prompt": "a", "completion": "b"}, "looks like prompt"),
        ({"input_ids": [1]}, "looks like tokens"),
        ({"text": "a"}, "looks like text"),
        ({"a": 1, "b": 2}, "has the columns a, b"),
        ({}, r"has the columns \(none\)"),
    ],
)
def test_another_format_is_named_by_what_it_looks_like(tmp_path: Path, record: dict[str, Any], guess: str) -> None:
    file = write(tmp_path / "a.jsonl", record)
    with pytest.raises(DataError, match=rf"a\.jsonl:1 {guess}.*; Alpaca needs instruction and output"):
        read_records((file,), "auto", {})


def test_files_of_a_folder_and_of_a_glob_come_in_a_fixed_order(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.json", "c.txt"):
        (tmp_path / name).write_text("")
    (tmp_path / "d.jsonl").mkdir()
    assert [file.name for file in find_files(".", tmp_path)] == ["a.json", "b.jsonl"]
    assert [file.name for file in find_files("*.json*", tmp_path)] == ["a.json", "b.jsonl"]
    assert find_files(str(tmp_path / "c.txt"), Path("/elsewhere")) == (tmp_path / "c.txt",)


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"missing\.jsonl does not exist"):
        find_files("missing.jsonl", tmp_path)
    with pytest.raises(DataError, match=r"holds no \.jsonl or \.json file"):
        find_files(".", tmp_path)
    with pytest.raises(DataError, match="hub data sets cannot be read yet"):
        find_files("hf:org/name", tmp_path)


def test_an_unreadable_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be read: Is a directory"):
        read_records((tmp_path,), "auto", {})
