"""What clients may ask is checked to the last type, and refused in OpenAI's own form."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from runtime.serving.asking import ChatRequest, CompletionRequest
from runtime.serving.refusal import of_schema, too_long, unavailable, wrong_key

HELLO = [{"role": "user", "content": "hello"}]


def chat(**body: Any) -> ChatRequest:
    return ChatRequest.model_validate_json(json.dumps({"messages": HELLO, **body}))


def completion(**body: Any) -> CompletionRequest:
    return CompletionRequest.model_validate_json(json.dumps({"prompt": "hello", **body}))


def complaint(kind: type[ChatRequest] | type[CompletionRequest], body: str | dict[str, Any]) -> dict[str, Any]:
    """The `error` object of a body that is refused."""
    with pytest.raises(ValidationError) as caught:
        kind.model_validate_json(body if isinstance(body, str) else json.dumps(body))
    refused = of_schema(caught.value)
    assert refused.status == 400
    error: dict[str, Any] = refused.body()["error"]
    return error


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"max_tokens": "5"}, "max_tokens: input should be a valid integer"),
        ({"max_tokens": True}, "max_tokens: input should be a valid integer"),
        ({"max_tokens": 0}, "max_tokens: input should be greater than or equal to 1"),
        ({"temperature": -1}, "temperature: input should be greater than or equal to 0"),
        ({"top_p": 2}, "top_p: input should be less than or equal to 1"),
        ({"stream": "yes"}, "stream: input should be a valid boolean"),
        ({"stop": [3]}, "stop"),
        ({"stop": ""}, "stop"),
        ({"n": 2}, "n: input should be 1"),
        ({"logit_bias": {"hello": 1}}, "logit_bias: the keys are token ids, not 'hello'"),
        ({"response_format": {"type": "json_object"}}, "response_format.type: input should be 'text'"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"learning_rate": 1}, "learning_rate: unknown parameter"),
        ({"chat_template_kwargs": {"tokenize": False}}, "chat_template_kwargs: tokenize cannot be set by a client"),
        ({"messages": []}, "messages: list should have at least 1 item"),
        ({"messages": [{"role": "nobody", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages.0.content.0.type"),
    ],
)
def test_a_wrong_parameter_of_a_chat_is_named(wrong: dict[str, Any], sentence: str) -> None:
    error = complaint(ChatRequest, {"messages": HELLO, **wrong})
    assert sentence in error["message"]
    assert error["type"] == "invalid_request_error"
    assert error["param"].startswith(next(iter(wrong)))


@pytest.mark.parametrize(
    "wrong", [{"echo": True}, {"best_of": 2}, {"suffix": "x"}, {"prompt": ["a", "b"]}, {"prompt": 3}, {"prompt": [-1]}]
)
def test_a_completion_that_cannot_be_honoured_is_refused_by_name(wrong: dict[str, Any]) -> None:
    assert complaint(CompletionRequest, {"prompt": "x", **wrong})["param"].startswith(next(iter(wrong)))


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ('{"messages": ', "the body is not JSON: EOF while parsing"),
        ("[" * 500, "the body is not JSON: recursion limit exceeded"),
        ("[1]", "the body: input should be an object"),
        ('{"messages": "\\ud800"}', "the body is not JSON"),
    ],
)
def test_a_body_that_is_no_object_is_one_sentence(body: str, sentence: str) -> None:
    assert complaint(ChatRequest, body)["message"].startswith(sentence)


def test_every_problem_is_told_at_once_up_to_five() -> None:
    error = complaint(CompletionRequest, {"prompt": "x", "a": 1, "b": 1, "c": 1, "d": 1, "e": 1, "f": 1})
    assert error["message"].count("unknown parameter") == 5
    assert error["message"].endswith("; and 1 more")
    assert error["code"] == "unknown_parameter"


def test_what_only_describes_the_client_is_ignored() -> None:
    assert chat(user="me", metadata={"a": "b"}, store=False) == chat()


def test_null_means_that_nothing_was_asked() -> None:
    asked = chat(temperature=None, max_tokens=None, stop=None, tools=None, logprobs=None)
    assert (asked.longest, asked.stops, asked.usable_tools(), asked.alternatives) == (None, (), [], -1)


def test_the_newer_name_of_the_longest_answer_counts() -> None:
    assert chat(max_tokens=3).longest == 3
    assert chat(max_tokens=3, max_completion_tokens=4).longest == 4
    assert completion(max_tokens=5).longest == 5


def test_stops_and_biases_in_both_forms() -> None:
    assert chat(stop="a").stops == ("a",)
    assert chat(stop=["a", "b"]).stops == ("a", "b")
    assert completion(logit_bias={"3": -100}).biases == {3: -100.0}


def test_how_many_likelihoods_are_told() -> None:
    assert [chat(logprobs=False).alternatives, chat(logprobs=True).alternatives] == [-1, 0]
    assert chat(logprobs=True, top_logprobs=4).alternatives == 4
    assert [completion().alternatives, completion(logprobs=2).alternatives] == [-1, 2]


def test_a_conversation_becomes_what_a_template_takes() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    asked = chat(
        messages=[
            {"role": "developer", "content": [{"type": "text", "text": "be "}, {"type": "text", "text": "brief"}]},
            {"role": "assistant", "content": None, "tool_calls": [call], "annotations": []},
            {"role": "tool", "content": "4", "tool_call_id": "1"},
        ]
    )
    assert asked.conversation() == [
        {"role": "system", "content": "be brief"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "4", "tool_call_id": "1"},
    ]


def test_tools_are_usable_unless_the_client_says_none() -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    assert chat(tools=[tool]).usable_tools() == [tool]
    assert chat(tools=[tool], tool_choice="none").usable_tools() == []


@pytest.mark.parametrize(("prompt", "text"), [("a", "a"), (["a"], "a"), ([1, 2], [1, 2]), ([], [])])
def test_a_prompt_is_a_text_or_its_tokens(prompt: Any, text: Any) -> None:
    assert completion(prompt=prompt).text == text


def test_each_refusal_says_what_goes_with_its_status() -> None:
    assert wrong_key().headers == {"WWW-Authenticate": "Bearer"}
    assert unavailable("later").headers == {"Retry-After": "1"}
    assert too_long(90, 20, 100).headers == {}
    assert too_long(90, 20, 100).message.endswith("the prompt has 90 tokens and the answer may take 20")
    assert too_long(200, 0, 100).body()["error"]["code"] == "context_length_exceeded"
