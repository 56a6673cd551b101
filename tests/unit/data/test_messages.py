"""Messages of all dialects in one, and the order of turns."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.data.messages import conversation
from runtime.data.records import Malformed

USER, ANSWER, SYSTEM = ({"role": role, "content": "x"} for role in ("user", "assistant", "system"))
CALL = {"id": "1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
CALLING = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "content": "3", "tool_call_id": "1"}


def refused(turns: Any, **options: Any) -> str:
    with pytest.raises(Malformed) as found:
        conversation(turns, **options)
    return str(found.value)


@pytest.mark.parametrize(
    ("turns", "why"),
    [
        ([USER], "the conversation of 1 messages has no answer"),
        ([], "the conversation of 0 messages has no answer"),
        ([USER, USER, ANSWER], "messages 1 and 2 are both the user's"),
        ([USER, SYSTEM, ANSWER], "message 2 is a system message, which must come first"),
        ([ANSWER, USER], "message 1 is an answer, but no question stands before it"),
        ([SYSTEM, ANSWER], "message 2 is an answer, but no question stands before it"),
        ([USER, ANSWER, ANSWER], "message 3 is an answer, but no question stands before it"),
        ([USER, RESULT, ANSWER], "message 2 is a tool's, but no call stands before it"),
        ([USER, ANSWER, RESULT, CALLING], "message 3 is a tool's, but the answer before it calls none"),
    ],
)
def test_case_25_turns_in_another_order_are_refused(turns: list[Any], why: str) -> None:
    assert refused(turns) == why


@pytest.mark.parametrize(
    "turns",
    [
        [USER, {"role": "assistant", "content": ""}],
        [SYSTEM, USER, ANSWER, USER, ANSWER],
        [USER, ANSWER, USER],
        [USER, CALLING, RESULT, RESULT, ANSWER],
        [USER, ANSWER, RESULT, ANSWER],
    ],
)
def test_case_25_a_proper_order_is_taken_with_empty_answers_too(turns: list[Any]) -> None:
    assert len(conversation(turns).messages) == len(turns)


@pytest.mark.parametrize(
    ("turn", "why"),
    [
        (3, "message 2 is not an object but int"),
        ({"content": "x"}, "message 2 has no role"),
        ({"role": 3, "content": "x"}, "message 2 has no role"),
        ({"role": "narrator", "content": "x"}, "message 2 has the unknown role 'narrator'"),
        ({"role": "assistant"}, "message 2 has no content"),
        ({"role": "assistant", "content": 5}, "the content of message 2 is not a text but int"),
        (
            {"role": "assistant", "content": [{"type": "image_url"}]},
            "message 2 has a part of type image_url; only text can be learnt",
        ),
        ({"role": "assistant", "content": [7]}, "message 2 has a part of type int; only text can be learnt"),
        (
            {"role": "assistant", "content": "x", "weight": 0.5},
            "message 2 has the weight 0.5; only 0 and 1 have a meaning",
        ),
        (
            {"role": "user", "content": "x", "tool_calls": [CALL]},
            "message 2 (user) has tool_calls that are no list of an assistant's calls",
        ),
        ({"role": "assistant", "tool_calls": [{}]}, "message 2 has a tool call without a function's name"),
        (
            {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]},
            "message 2 has a tool call that is not JSON",
        ),
        (
            {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "[]"}}]},
            "message 2 calls f with arguments that are no object",
        ),
        ({"from": "function_call", "value": "add 1"}, "message 2 has a tool call that is not JSON"),
    ],
)
def test_bug_18_what_is_wrong_with_a_message_names_it(turn: Any, why: str) -> None:
    assert refused([USER, turn]) == why


@pytest.mark.parametrize(
    ("tools", "why"),
    [
        ("{", "tools is a text that is not JSON"),
        ("{}", "tools is not a list of objects"),
        ([1], "tools is not a list of objects"),
    ],
)
def test_tools_that_are_no_list_of_schemas_are_refused(tools: Any, why: str) -> None:
    assert refused([USER, ANSWER], tools=tools) == why


def test_tools_may_stand_as_json_and_nothing_is_none() -> None:
    assert conversation([USER, ANSWER], tools='[{"name": "f"}]').tools == ({"name": "f"},)
    assert conversation([USER, ANSWER], tools="").tools == conversation([USER, ANSWER]).tools == ()


def test_every_role_of_sharegpt_has_its_own_here() -> None:
    turns = [
        {"from": "system", "value": "s"},
        {"from": "human", "value": "q"},
        {"from": "function_call", "value": '{"name": "add", "arguments": {"a": 1}}'},
        {"from": "observation", "value": "3"},
        {"from": "gpt", "value": "three"},
    ]
    messages = conversation(turns).messages
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "tool", "assistant"]
    assert messages[2]["tool_calls"] == [{"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}]


def test_arguments_of_calls_become_objects_and_further_keys_stay() -> None:
    messages = conversation([USER, CALLING, RESULT, {**ANSWER, "reasoning_content": "hm", "name": None}]).messages
    assert messages[1] == {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": "1", "type": "function", "function": {"name": "add", "arguments": {"a": 1}}}],
    }
    assert messages[2]["tool_call_id"] == "1"
    assert messages[3] == {"role": "assistant", "content": "x", "reasoning_content": "hm"}


def test_parts_of_text_are_joined() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert conversation([{"role": "user", "content": parts}, ANSWER]).messages[0]["content"] == "ab"


def test_an_answer_of_weight_zero_is_never_learnt_wherever_a_system_message_puts_it() -> None:
    turns = [USER, {**ANSWER, "weight": 0}, USER, {**ANSWER, "weight": 1}]
    assert conversation(turns).unlearnt == {1}
    assert conversation(turns, system="s").unlearnt == conversation(turns).with_system("s").unlearnt == {2}
    assert conversation(turns, system="s", completion_from=2).completion_from == 3


def test_a_conversation_with_a_system_message_keeps_its_own() -> None:
    found = conversation([SYSTEM, USER, ANSWER])
    assert found.with_system("another") is found
    assert conversation([USER, ANSWER]).with_system("") == conversation([USER, ANSWER])
