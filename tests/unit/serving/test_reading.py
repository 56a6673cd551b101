"""Thoughts, calls and the answer are told apart, and it ends for one reason."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

from mlx_lm.generate import TextStateMachine

from runtime.serving.reading import Delta, Reading
from runtime.serving.replies import ChatForm, CompletionForm, Usage, joined

PARTS = {
    "normal": [("<think>", "reasoning"), ("<call>", "tool")],
    "reasoning": [("</think>", "normal")],
    "tool": [("</call>", "normal")],
}


def token(text: str, finish_reason: str | None = None, number: int = 7) -> SimpleNamespace:
    others = ({"id": 8, "token": "x", "logprob": -0.25},)
    return SimpleNamespace(text=text, token=number, logprob=-0.5, finish_reason=finish_reason, top_tokens=others)


def parsed(text: str) -> list[dict[str, Any]]:
    try:
        return [{"id": "c", "type": "function", "function": {"name": json.loads(text)["name"], "arguments": "{}"}}]
    except ValueError:
        return []


def read(
    *texts: str, end: str = "stop", stops: tuple[str, ...] = (), parts: bool = True, decode: Any = None
) -> tuple[Delta, Reading]:
    machine = TextStateMachine(PARTS)
    context = SimpleNamespace(text_sm=machine, initial_state="normal") if parts else None
    reading = Reading(context, stops, decode, parsed)
    said = []
    for text in texts:
        said.append(reading.feed(token(text)))
        if reading.finish_reason is not None:
            return joined(said), reading
    said.append(reading.feed(token("", end)))
    return joined(said), reading


def test_thoughts_are_no_answer() -> None:
    said, reading = read("<thi", "nk>hm</think>", "four")
    assert (said.content, said.reasoning, reading.finish_reason, reading.tokens) == ("four", "hm", "stop", 4)


def test_a_call_is_parsed_and_is_the_reason_of_the_end() -> None:
    said, reading = read('<call>{"name": "add"}</call>', '<call>{"name": "mul"}</call>')
    assert [(call["index"], call["function"]["name"]) for call in said.tool_calls] == [(0, "add"), (1, "mul")]
    assert (said.content, reading.finish_reason) == ("", "tool_calls")


def test_a_call_without_an_end_counts_when_the_answer_stops() -> None:
    said, _ = read('<call>{"name": "add"}')
    assert [call["function"]["name"] for call in said.tool_calls] == ["add"]


def test_a_call_that_cannot_be_parsed_is_sent_as_it_was_written() -> None:
    said, reading = read("<call>add 2", end="length")
    assert (said.content, said.tool_calls, reading.finish_reason) == ("add 2", [], "length")


def test_the_beginning_of_a_marker_that_never_came_is_text() -> None:
    assert read("2 <thi")[0].content == "2 <thi"


def test_a_stop_text_ends_the_answer_at_once() -> None:
    said, reading = read("one\n", "\ntwo", "three", stops=("\n\n",))
    assert (said.content, reading.finish_reason, reading.tokens) == ("one", "stop", 2)


def test_a_completion_is_taken_as_it_is() -> None:
    assert read("<think>hm</think>", parts=False)[0].content == "<think>hm</think>"


def test_likelihoods_go_with_their_tokens_but_not_with_the_one_that_ended_it() -> None:
    said, _ = read("a", "b", decode=lambda number: f"<{number}>")
    assert [(one.token, one.logprob, one.others) for one in said.likelihoods] == [("<7>", -0.5, (("<8>", -0.25),))] * 2


def test_a_chat_is_answered_in_openais_form() -> None:
    said, reading = read("<think>hm</think>four", decode=lambda number: f"<{number}>")
    reply = ChatForm("tiny").whole(said, "stop", Usage(3, reading.tokens, 1))
    (choice,) = reply["choices"]
    assert choice["message"] == {"role": "assistant", "content": "four", "reasoning_content": "hm"}
    assert choice["logprobs"]["content"][0]["top_logprobs"] == [
        {"token": "<8>", "logprob": -0.25, "bytes": [60, 56, 62]}
    ]
    assert reply["usage"]["total_tokens"] == 5
    assert reply["usage"]["prompt_tokens_details"] == {"cached_tokens": 1}


def test_a_chat_that_only_calls_has_no_content() -> None:
    said, _ = read('<call>{"name": "add"}</call>')
    message = ChatForm("tiny").whole(said, "tool_calls", Usage(1, 1))["choices"][0]["message"]
    assert message["content"] is None
    assert message["tool_calls"][0] == {"id": "c", "type": "function", "function": {"name": "add", "arguments": "{}"}}


def test_a_completion_is_answered_in_openais_form() -> None:
    said, _ = read("four", parts=False, decode=lambda number: f"<{number}>")
    form = CompletionForm("tiny")
    assert form.opening() is None
    (choice,) = form.whole(said, "length", Usage(1, 1))["choices"]
    assert (choice["text"], choice["finish_reason"]) == ("four", "length")
    assert choice["logprobs"]["top_logprobs"] == [{"<8>": -0.25}]
    assert form.closing(Usage(1, 1))["choices"] == []
