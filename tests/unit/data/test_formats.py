"""Records of every format: how it is told, what a record says in it, and why others are quarantined."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runtime.data.formats import FORMATS, read_records
from runtime.data.records import Completion, Content, Conversation, PlainText, Records, TokenRow
from runtime.errors import DataError

GOOD = {"instruction": "Add.", "input": "1 + 2", "output": "3"}
TURNS = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
SHARED = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]


def write(path: Path, *lines: Any) -> Path:
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines) + "\n")
    return path


def read(folder: Path, *lines: Any, data_format: str = "auto", columns: dict[str, str] | None = None) -> Records:
    return read_records((write(folder / "a.jsonl", *lines),), data_format, columns or {})


def one(folder: Path, line: Any, **options: Any) -> Content:
    (record,) = read(folder, line, **options).taken
    return record.content


def reason(folder: Path, line: Any, data_format: str) -> str:
    (bad,) = read(folder, line, data_format=data_format).quarantined
    return bad.reason


def said(content: Content) -> list[tuple[str, str]]:
    assert isinstance(content, Conversation)
    return [(message["role"], message["content"]) for message in content.messages]


def test_case_29_alpaca_puts_the_input_on_a_line_of_its_own_and_none_leaves_none(tmp_path: Path) -> None:
    solve = {"instruction": "Solve the math problem.", "input": "3 + 4", "output": "The answer is 7."}
    records = read(
        tmp_path, solve, {"instruction": "Say hi.", "output": "hi"}, {**GOOD, "input": None}, GOOD | {"input": ""}
    )
    assert [said(record.content) for record in records.taken] == [
        [("user", "Solve the math problem.\n3 + 4"), ("assistant", "The answer is 7.")],
        [("user", "Say hi."), ("assistant", "hi")],
        [("user", "Add."), ("assistant", "3")],
        [("user", "Add."), ("assistant", "3")],
    ]
    assert [record.line for record in records.taken] == [1, 2, 3, 4]


def test_case_29_the_system_of_sharegpt_becomes_the_system_message(tmp_path: Path) -> None:
    inside = one(tmp_path, {"conversations": [{"from": "system", "value": "s"}, *SHARED]})
    beside = one(tmp_path, {"conversations": SHARED, "system": "s"})
    assert said(inside) == said(beside) == [("system", "s"), ("user", "q"), ("assistant", "a")]
    assert said(one(tmp_path, GOOD | {"system": "s"}))[0] == ("system", "s")


@pytest.mark.parametrize(
    "record",
    [
        {"conversations": SHARED},
        {"conversations": TURNS},
        {"messages": SHARED},
        {"messages": TURNS},
        {"prompt": TURNS[:1], "completion": TURNS[1:]},
        {"prompt": SHARED[:1], "completion": SHARED[1:]},
    ],
)
def test_case_30_from_and_value_become_role_and_content_in_every_format(tmp_path: Path, record: Any) -> None:
    assert said(one(tmp_path, record)) == [("user", "q"), ("assistant", "a")]


@pytest.mark.parametrize(
    ("record", "told"),
    [
        (GOOD, "alpaca: a.jsonl:1 has the columns instruction, output"),
        ({"conversations": SHARED}, "sharegpt: a.jsonl:1 has the column conversations"),
        ({"messages": TURNS}, "messages: a.jsonl:1 has the column messages"),
        ({"prompt": "p", "completion": "c"}, "prompt: a.jsonl:1 has the columns prompt, completion"),
        ({"input_ids": [1, 2]}, "tokens: a.jsonl:1 has the column input_ids"),
        ({"text": "t"}, "text: a.jsonl:1 has the column text"),
        (GOOD | {"text": "t"}, "alpaca: a.jsonl:1 has the columns instruction, output"),
        ({"messages": TURNS, "prompt": "p", "completion": "c"}, "messages: a.jsonl:1 has the column messages"),
    ],
)
def test_the_format_is_told_by_its_columns_and_the_reason_is_said(tmp_path: Path, record: Any, told: str) -> None:
    records = read(tmp_path, record)
    assert (records.format_reason, len(records.taken)) == (told, 1)


def test_an_early_record_without_the_columns_does_not_hide_the_format(tmp_path: Path) -> None:
    records = read(tmp_path, "{", {"a": 1}, GOOD)
    assert records.format_reason == "alpaca: a.jsonl:3 has the columns instruction, output"
    assert [bad.line for bad in records.quarantined] == [1, 2]


@pytest.mark.parametrize(("record", "columns"), [({"a": 1, "b": 2}, "a, b"), ({}, r"\(none\)")])
def test_records_of_no_known_format_are_refused_with_all_formats(tmp_path: Path, record: Any, columns: str) -> None:
    with pytest.raises(
        DataError, match=rf"a\.jsonl:1 has the columns {columns}, which is no known format .*alpaca has"
    ):
        read(tmp_path, record)


def test_nothing_at_all_is_no_format(tmp_path: Path) -> None:
    assert read(tmp_path).format_reason == "no record"
    assert read(tmp_path, "{").total == 1


@pytest.mark.parametrize("data_format", [each.name for each in FORMATS])
def test_a_configured_format_needs_no_detection_and_quarantines_the_others(tmp_path: Path, data_format: str) -> None:
    records = read(tmp_path, {"another": 1}, data_format=data_format)
    assert records.format_reason == f"{data_format}: the configuration says so"
    assert (len(records.taken), len(records.quarantined)) == (0, 1)


def test_columns_are_renamed(tmp_path: Path) -> None:
    columns = {"instruction": "question", "output": "answer", "input": "context"}
    records = read(tmp_path, {"question": "q", "answer": "a", "context": "c"}, {"question": "q"}, columns=columns)
    assert said(records.taken[0].content) == [("user", "q\nc"), ("assistant", "a")]
    assert records.quarantined[0].reason == "column answer is missing"
    assert records.format_reason == "alpaca: a.jsonl:1 has the columns question, answer"
    assert said(one(tmp_path, {"chat": TURNS}, columns={"messages": "chat"})) == [("user", "q"), ("assistant", "a")]


@pytest.mark.parametrize(
    ("record", "data_format", "why"),
    [
        ({"instruction": "x"}, "alpaca", "column output is missing"),
        ({"instruction": "", "output": "y"}, "alpaca", "column instruction is empty"),
        ({"instruction": "x", "output": "  "}, "alpaca", "column output is empty"),
        ({"instruction": 1, "output": ""}, "alpaca", "column instruction is not a text but int"),
        ({"instruction": "x", "output": "y", "input": [1]}, "alpaca", "column input is not a text but list"),
        ({"messages": None}, "messages", "column messages is missing"),
        ({"messages": []}, "messages", "column messages is empty"),
        ({"messages": "hi"}, "messages", "the messages are not a list but str"),
        ({"prompt": "p"}, "prompt", "column completion is missing"),
        ({"prompt": "p", "completion": ""}, "prompt", "column completion is empty"),
        ({"prompt": [], "completion": "c"}, "prompt", "column prompt is not a text but list"),
        ({"text": ""}, "text", "column text is empty"),
        ({"text": "a\ud800"}, "text", "column text holds half a character (a lone surrogate at 1)"),
        ({"input_ids": []}, "tokens", "column input_ids is empty"),
        ({"input_ids": [1, 2.5]}, "tokens", "column input_ids is not a list of whole numbers"),
        ({"input_ids": [1], "labels": [1, 2]}, "tokens", "column labels has 2 numbers for 1 tokens"),
        ({"input_ids": [1, 2], "labels": [1, 3]}, "tokens", "label 1 is 3, neither -100 nor the token 2"),
        ({"input_ids": [1, 2], "mask": [0, 2]}, "tokens", "column mask holds more than zeros and ones"),
        (
            {"input_ids": [1, 2], "attention_mask": [0, 1]},
            "tokens",
            "column attention_mask is no row of ones before padding",
        ),
    ],
)
def test_bug_18_what_is_wrong_with_a_record_is_its_reason(
    tmp_path: Path, record: Any, data_format: str, why: str
) -> None:
    assert reason(tmp_path, record, data_format) == why


def test_a_prompt_and_its_completion_are_two_texts(tmp_path: Path) -> None:
    assert one(tmp_path, {"prompt": "p", "completion": " c"}) == Completion("p", " c")


def test_halves_of_a_conversation_know_where_the_completion_begins(tmp_path: Path) -> None:
    content = one(tmp_path, {"prompt": [*TURNS, TURNS[0]], "completion": [TURNS[1]]})
    assert isinstance(content, Conversation)
    assert content.completion_from == 3
    assert content.with_system("s").completion_from == 4


def test_a_text_is_a_text(tmp_path: Path) -> None:
    assert one(tmp_path, {"text": " as it is\n"}) == PlainText(" as it is\n")


def test_tokens_are_learnt_whole_without_labels_and_padding_is_cut(tmp_path: Path) -> None:
    assert one(tmp_path, {"input_ids": [5, 6, 0], "attention_mask": [1, 1, 0]}) == TokenRow((5, 6), (1, 1))


def test_case_16_masks_of_records_say_which_tokens_are_learnt(tmp_path: Path) -> None:
    records = read(
        tmp_path,
        {"input_ids": [1, 2, 3, 4], "assistant_masks": [0, 0, 1, 1]},
        {"input_ids": [5, 6, 7], "assistant_masks": [False, True, False]},
    )
    labels = [
        [token if bit else -100 for token, bit in zip(row.ids, row.mask, strict=True)]
        for row in (record.content for record in records.taken)
        if isinstance(row, TokenRow)
    ]
    assert labels == [[-100, -100, 3, 4], [-100, 6, -100]]


def test_case_18_given_labels_count_more_than_masks(tmp_path: Path) -> None:
    row = one(tmp_path, {"input_ids": [1, 2, 3, 4], "labels": [1, -100, 3, -100], "completion_mask": [1, 1, 1, 1]})
    assert row == TokenRow((1, 2, 3, 4), (1, 0, 1, 0))


def test_functions_of_older_files_are_tools(tmp_path: Path) -> None:
    content = one(tmp_path, {"messages": TURNS, "functions": [{"name": "f"}]})
    assert isinstance(content, Conversation)
    assert content.tools == ({"type": "function", "function": {"name": "f"}},)
