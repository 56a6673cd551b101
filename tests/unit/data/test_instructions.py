"""IFEval's two columns, in a record of any format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runtime.data.formats import read_records
from runtime.data.instructions import instructions_of
from runtime.data.records import Malformed


def test_ids_and_arguments_go_together() -> None:
    record = {"instruction_id_list": ["punctuation:no_comma", "x:y"], "kwargs": [None, {"n": 3}]}
    assert instructions_of(record) == (("punctuation:no_comma", {}), ("x:y", {"n": 3}))
    assert instructions_of({"instruction_id_list": ["x:y"]}) == (("x:y", {}),)
    assert instructions_of({"prompt": "hello"}) == ()


@pytest.mark.parametrize(
    ("ids", "arguments", "reason"),
    [("x:y", [], "not a list of texts"), ([1], [{}], "not a list of texts"), (["x:y"], [], "as many objects"),
     (["x:y"], {}, "as many objects"), (["x:y"], ["n"], "something else than objects")],
)  # fmt: skip
def test_columns_that_do_not_fit_each_other_are_refused(ids: Any, arguments: Any, reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        instructions_of({"instruction_id_list": ids, "kwargs": arguments})


def test_a_record_with_broken_instructions_is_quarantined(tmp_path: Path) -> None:
    good = {"instruction": "Say it.", "output": "it", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}
    (tmp_path / "a.jsonl").write_text(f"{json.dumps(good)}\n{json.dumps({**good, 'kwargs': []})}\n")
    records = read_records((tmp_path / "a.jsonl",), "alpaca", {})
    assert records.taken[0].instructions == (("punctuation:no_comma", {}),)
    assert [one.line for one in records.quarantined] == [2]
