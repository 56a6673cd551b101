"""The JSON objects that OpenAI's clients expect, whole and in pieces."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from runtime.serving.reading import Delta, Likelihood


@dataclass(frozen=True)
class Usage:
    """Tokens of one answer."""

    prompt: int
    answer: int
    kept: int = 0
    """Tokens of the prompt that were already computed for an earlier one."""

    def body(self) -> dict[str, Any]:
        """`usage`."""
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.answer,
            "total_tokens": self.prompt + self.answer,
            "prompt_tokens_details": {"cached_tokens": max(self.kept, 0)},
        }


class Form(Protocol):
    """How one kind of request is answered."""

    def whole(self, said: Delta, finish_reason: str, usage: Usage) -> dict[str, Any]:
        """The reply of a request that is not streamed."""
        ...

    def opening(self) -> dict[str, Any] | None:
        """The first piece of a stream, if it has one before the first token."""
        ...

    def piece(self, said: Delta, finish_reason: str | None) -> dict[str, Any]:
        """A piece of a stream; exactly one has a finish_reason."""
        ...

    def closing(self, usage: Usage) -> dict[str, Any]:
        """The piece that tells the usage, for clients that ask for it."""
        ...


@dataclass(frozen=True)
class _Stamp:
    """What every piece of one answer repeats."""

    model: str
    prefix: str
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    created: int = field(default_factory=lambda: int(time.time()))

    def body(self, kind: str, choices: Sequence[Mapping[str, Any]], **further: Any) -> dict[str, Any]:
        return {
            "id": f"{self.prefix}-{self.id}",
            "object": kind,
            "created": self.created,
            "model": self.model,
            "choices": list(choices),
            **further,
        }


class ChatForm:
    """`/v1/chat/completions`."""

    def __init__(self, model: str) -> None:
        self._stamp = _Stamp(model, "chatcmpl")

    def whole(self, said: Delta, finish_reason: str, usage: Usage) -> dict[str, Any]:
        """See Form."""
        message: dict[str, Any] = {"role": "assistant", "content": said.content or (None if said.tool_calls else "")}
        if said.reasoning:
            message["reasoning_content"] = said.reasoning
        if said.tool_calls:
            message["tool_calls"] = [{k: v for k, v in call.items() if k != "index"} for call in said.tool_calls]
        choice = {"index": 0, "message": message, "finish_reason": finish_reason, "logprobs": _chat_likelihoods(said)}
        return self._stamp.body("chat.completion", [choice], usage=usage.body())

    def opening(self) -> dict[str, Any] | None:
        """See Form."""
        return self._piece({"role": "assistant", "content": ""}, None, None)

    def piece(self, said: Delta, finish_reason: str | None) -> dict[str, Any]:
        """See Form."""
        parts = {"content": said.content, "reasoning_content": said.reasoning, "tool_calls": said.tool_calls}
        return self._piece({k: v for k, v in parts.items() if v}, finish_reason, _chat_likelihoods(said))

    def closing(self, usage: Usage) -> dict[str, Any]:
        """See Form."""
        return self._stamp.body("chat.completion.chunk", [], usage=usage.body())

    def _piece(self, delta: Mapping[str, Any], finish_reason: str | None, logprobs: Any) -> dict[str, Any]:
        choice = {"index": 0, "delta": dict(delta), "finish_reason": finish_reason, "logprobs": logprobs}
        return self._stamp.body("chat.completion.chunk", [choice])


class CompletionForm:
    """`/v1/completions`. Thoughts and calls are part of the text: nothing but the text was asked for."""

    def __init__(self, model: str) -> None:
        self._stamp = _Stamp(model, "cmpl")

    def whole(self, said: Delta, finish_reason: str, usage: Usage) -> dict[str, Any]:
        """See Form."""
        return self._stamp.body("text_completion", [_text_choice(said, finish_reason)], usage=usage.body())

    def opening(self) -> dict[str, Any] | None:
        """See Form."""
        return None

    def piece(self, said: Delta, finish_reason: str | None) -> dict[str, Any]:
        """See Form."""
        return self._stamp.body("text_completion", [_text_choice(said, finish_reason)])

    def closing(self, usage: Usage) -> dict[str, Any]:
        """See Form."""
        return self._stamp.body("text_completion", [], usage=usage.body())


def joined(deltas: Sequence[Delta]) -> Delta:
    """Everything that was said, as one."""
    return Delta(
        "".join(each.content for each in deltas),
        "".join(each.reasoning for each in deltas),
        [call for each in deltas for call in each.tool_calls],
        [one for each in deltas for one in each.likelihoods],
    )


def models(names: Sequence[str], created: int) -> dict[str, Any]:
    """`/v1/models`."""
    return {"object": "list", "data": [model(name, created) for name in names]}


def model(name: str, created: int) -> dict[str, Any]:
    """`/v1/models/NAME`."""
    return {"id": name, "object": "model", "created": created, "owned_by": "mlx-distributed"}


def event(content: Mapping[str, Any]) -> bytes:
    """One event of a stream."""
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n".encode()


def comment(text: str) -> bytes:
    """What keeps a stream alive and every client skips."""
    return f": {text}\n\n".encode()


DONE = b"data: [DONE]\n\n"


def _text_choice(said: Delta, finish_reason: str | None) -> dict[str, Any]:
    logprobs = {
        "tokens": [one.token for one in said.likelihoods],
        "token_logprobs": [one.logprob for one in said.likelihoods],
        "top_logprobs": [dict(one.others) for one in said.likelihoods],
        "text_offset": [],
    }
    return {
        "index": 0,
        "text": said.content,
        "finish_reason": finish_reason,
        "logprobs": logprobs if said.likelihoods else None,
    }


def _chat_likelihoods(said: Delta) -> dict[str, Any] | None:
    if not said.likelihoods:
        return None
    return {"content": [_chat_likelihood(one) for one in said.likelihoods], "refusal": None}


def _chat_likelihood(one: Likelihood) -> dict[str, Any]:
    others = [_token(token, logprob) for token, logprob in one.others]
    return {**_token(one.token, one.logprob), "top_logprobs": others}


def _token(token: str, logprob: float) -> dict[str, Any]:
    return {"token": token, "logprob": logprob, "bytes": list(token.encode())}
