"""Parquet files through pyarrow, and the sentence where it is not installed."""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from runtime.data.files import rows_of
from runtime.data.formats import read_records
from runtime.data.records import Conversation
from runtime.errors import DataError


def test_rows_of_parquet_are_records_like_any_other(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"text": [f"row {number}" for number in range(3000)]}), file)
    rows = list(rows_of(file))
    assert [rows[0].value, rows[2999].value] == [{"text": "row 0"}, {"text": "row 2999"}]
    assert [rows[0].line, rows[2999].line] == [1, 3000]


def test_the_nulls_that_columns_fill_in_are_no_part_of_a_message_or_a_tool(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    turns = [
        {"role": "user", "content": "q", "name": None, "tool_calls": None},
        {"role": "assistant", "content": "a", "name": None, "tool_calls": None},
    ]
    tools = [{"function": {"name": "f", "strict": None}}]
    parquet.write_table(pa.Table.from_pylist([{"messages": turns, "tools": tools}]), file)
    (record,) = read_records((file,), "auto", {}).taken
    assert record.content == Conversation(
        ({"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}), ({"function": {"name": "f"}},)
    )


def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_text("text")
    with pytest.raises(DataError, match=r"a\.parquet cannot be read as Parquet"):
        list(rows_of(tmp_path / "a.parquet"))


def test_without_pyarrow_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(
        DataError, match=r"a\.parquet is a Parquet file, which needs pyarrow: install mlx-distributed\[hf\]"
    ):
        list(rows_of(Path("a.parquet")))
