"""Messages of all dialects in one: OpenAI's role and content, checked so that any chat template can render them.

ShareGPT's `from` and `value` are renamed, tool calls get their arguments as an object (that is what templates print),
parts of text are joined. The order of turns is checked as torchtune's `validate_messages` does; what a chat template
refuses beyond that is found when it renders.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from runtime.data.records import Conversation, Malformed, Message

_ROLES = {
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "model": "assistant",
    "function_call": "assistant",
    "system": "system",
    "developer": "system",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "function_response": "tool",
    "ipython": "tool",
}
_RENAMED = ("role", "from", "content", "value", "tool_calls", "weight")


def conversation(
    turns: Any, *, tools: Any = None, system: Any = None, completion_from: int | None = None
) -> Conversation:
    """The conversation of a list of messages in either dialect. Raises Malformed with the reason.

    `system` is the text of a system message that stands beside the list. `tools` is a list of JSON schemas, or JSON of
    one. `completion_from` is the number of the first message that belongs to a completion.
    """
    if not isinstance(turns, Sequence) or isinstance(turns, str):
        raise Malformed(f"the messages are not a list but {type(turns).__name__}")
    messages = [_message(number, turn) for number, turn in enumerate(turns, 1)]
    unlearnt = {turn for turn, raw in enumerate(turns) if raw.get("weight") is not None and not _weight(turn + 1, raw)}
    if system is not None and system != "":
        messages.insert(0, {"role": "system", "content": text_of(system, "system")})
        unlearnt = {turn + 1 for turn in unlearnt}
        completion_from = None if completion_from is None else completion_from + 1
    _check_order(messages)
    return Conversation(tuple(messages), _tools(tools), frozenset(unlearnt), completion_from)


def text_of(value: Any, what: str) -> str:
    """`value`, which must be a text that UTF-8 can hold. Raises Malformed, calling it `what`."""
    if not isinstance(value, str):
        raise Malformed(f"{what} is not a text but {type(value).__name__}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise Malformed(f"{what} holds half a character (a lone surrogate at {error.start})") from None
    return value


def _message(number: int, raw: Any) -> Message:
    """One turn; its number, from 1, is for the reasons."""
    if not isinstance(raw, Mapping):
        raise Malformed(f"message {number} is not an object but {type(raw).__name__}")
    spoken = raw.get("role") or raw.get("from")
    if not isinstance(spoken, str):
        raise Malformed(f"message {number} has no role")
    role = _ROLES.get(spoken.strip().lower())
    if role is None:
        raise Malformed(f"message {number} has the unknown role {spoken!r}")
    value = raw.get("value") if raw.get("content") is None else raw["content"]
    if spoken == "function_call":
        return {"role": role, "content": "", "tool_calls": [_tool_call(number, _json(number, value))]}
    calls = raw.get("tool_calls")
    further = {key: kept for key, kept in raw.items() if key not in _RENAMED and kept is not None}
    message: Message = {"role": role, "content": _content(number, value, required=not calls)}
    if calls:
        if role != "assistant" or not isinstance(calls, Sequence) or isinstance(calls, str):
            raise Malformed(f"message {number} ({role}) has tool_calls that are no list of an assistant's calls")
        message["tool_calls"] = [_tool_call(number, call) for call in calls]
    return {**message, **further}


def _content(number: int, value: Any, *, required: bool) -> str:
    """The text of a message; parts of text are joined. Nothing is fine beside tool calls."""
    if value is None:
        if required:
            raise Malformed(f"message {number} has no content")
        return ""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "".join(_part(number, part) for part in value)
    return text_of(value, f"the content of message {number}")


def _part(number: int, part: Any) -> str:
    if isinstance(part, Mapping) and part.get("type") == "text":
        return text_of(part.get("text"), f"a part of message {number}")
    kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
    raise Malformed(f"message {number} has a part of type {kind}; only text can be learnt")


def _tool_call(number: int, call: Any) -> dict[str, Any]:
    """A call with its arguments as an object, as chat templates print them."""
    function = call.get("function", call) if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise Malformed(f"message {number} has a tool call without a function's name")
    arguments = function.get("arguments", {})
    if isinstance(arguments, str):
        arguments = _json(number, arguments or "{}")
    if not isinstance(arguments, Mapping):
        raise Malformed(f"message {number} calls {function['name']} with arguments that are no object")
    kept = {key: call[key] for key in ("id", "index") if call.get(key) is not None}
    return {**kept, "type": "function", "function": {"name": function["name"], "arguments": dict(arguments)}}


def _json(number: int, value: Any) -> Any:
    try:
        return json.loads(value)
    except (TypeError, ValueError, RecursionError):
        raise Malformed(f"message {number} has a tool call that is not JSON") from None


def _weight(number: int, raw: Mapping[str, Any]) -> bool:
    if raw["weight"] not in (0, 1):
        raise Malformed(f"message {number} has the weight {raw['weight']!r}; only 0 and 1 have a meaning")
    return bool(raw["weight"])


def _tools(raw: Any) -> tuple[Mapping[str, Any], ...]:
    """The functions that a conversation may call: a list of objects, or JSON of one; nothing at all is none."""
    if raw is None or raw == "":
        return ()
    if isinstance(raw, str):
        try:
            raw = json.loads(raw)
        except (ValueError, RecursionError):
            raise Malformed("tools is a text that is not JSON") from None
    if not isinstance(raw, Sequence) or isinstance(raw, str) or not all(isinstance(tool, Mapping) for tool in raw):
        raise Malformed("tools is not a list of objects")
    return tuple(_without_nulls(tool) for tool in raw)


def _without_nulls(value: Any) -> Any:
    """A schema as its author wrote it: columns of Parquet fill every key that any row has."""
    if isinstance(value, Mapping):
        return {key: _without_nulls(kept) for key, kept in value.items() if kept is not None}
    if isinstance(value, list):
        return [_without_nulls(kept) for kept in value]
    return value


def _check_order(messages: Sequence[Message]) -> None:
    """The turns follow each other as a conversation's do. Raises Malformed, naming the turn that does not."""
    if not any(message["role"] == "assistant" for message in messages):
        raise Malformed(f"the conversation of {len(messages)} messages has no answer")
    last = "start"
    for number, message in enumerate(messages, 1):
        role = message["role"]
        match role, last:
            case "system", _ if number > 1:
                raise Malformed(f"message {number} is a system message, which must come first")
            case "user", "user":
                raise Malformed(f"messages {number - 1} and {number} are both the user's")
            case "assistant", "start" | "system" | "assistant":
                raise Malformed(f"message {number} is an answer, but no question stands before it")
            case "tool", "start" | "system" | "user":
                raise Malformed(f"message {number} is a tool's, but no call stands before it")
            case "tool", "assistant" if not messages[number - 2].get("tool_calls") and _calls_are_named(messages):
                raise Malformed(f"message {number} is a tool's, but the answer before it calls none")
            case _:
                last = role


def _calls_are_named(messages: Sequence[Message]) -> bool:
    """Whether this conversation writes its calls as tool_calls; older ones write them into the text."""
    return any(message.get("tool_calls") for message in messages)
