"""Why a request is not answered, as OpenAI's clients read it: a status and `{"error": {message, type, ...}}`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

_LONGEST_LIST = 5


class Refused(Exception):
    """A request that gets no answer. Whose fault it is stands in the status: 4xx the client's, 5xx ours."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str = "",
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.kind, self.param, self.code = status, message, kind, param, code

    @property
    def headers(self) -> Mapping[str, str]:
        """What goes with the status: how to prove who one is, or when to come again."""
        match self.status:
            case 401:
                return {"WWW-Authenticate": "Bearer"}
            case 503:
                return {"Retry-After": "1"}
            case _:
                return {}

    def body(self) -> dict[str, Any]:
        """The JSON object that is sent, in a reply or as the last event of a stream."""
        return {
            "error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code or None},
        }


def unknown_model(asked: str, served: str) -> Refused:
    """A model that is not served here. Nothing is ever loaded because a client names it."""
    return Refused(404, f"the model {asked!r} is not served here; {served!r} is", param="model", code="model_not_found")


def wrong_key() -> Refused:
    """No key, or another one."""
    return Refused(
        401, "the API key is missing or wrong: send it as `Authorization: Bearer KEY`", code="invalid_api_key"
    )


def too_long(tokens: int, answer: int, limit: int) -> Refused:
    """A prompt that leaves no room for its answer."""
    asked = f"the prompt has {tokens} tokens" + (f" and the answer may take {answer}" if answer else "")
    return Refused(
        400,
        f"this model's context is {limit} tokens; {asked}",
        param="messages",
        code="context_length_exceeded",
    )


def unavailable(message: str, code: str = "overloaded") -> Refused:
    """Not now: still loading, too many at once, or stopping. Clients that wait may come again."""
    return Refused(503, message, kind="server_error", code=code)


def of_schema(error: ValidationError) -> Refused:
    """What pydantic found wrong with a body, every problem with its place, in one sentence each."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    places = [_place(each["loc"]) for each in found]
    if found[0]["type"] == "json_invalid":
        return Refused(400, f"the body is not JSON: {found[0]['msg'].partition(': ')[2]}")
    sentences = list(dict.fromkeys(_sentence(place, each) for place, each in zip(places, found, strict=True)))
    more = f"; and {len(sentences) - _LONGEST_LIST} more" if len(sentences) > _LONGEST_LIST else ""
    code = "unknown_parameter" if found[0]["type"] == "extra_forbidden" else "invalid_value"
    return Refused(400, "; ".join(sentences[:_LONGEST_LIST]) + more, param=places[0] or None, code=code)


def _place(location: Sequence[int | str]) -> str:
    """`messages.0.content`, without the names of the types that pydantic tried."""
    tried = ("list[", "constrained-", "function-")
    return ".".join(str(part) for part in location if part != "str" and not str(part).startswith(tried))


def _sentence(place: str, found: Mapping[str, Any]) -> str:
    if found["type"] == "extra_forbidden":
        return f"{place}: unknown parameter"
    message = found["msg"].removeprefix("Value error, ")
    if found["type"] == "value_error":
        return f"{place}: {message}" if place else message
    return f"{place or 'the body'}: {message[:1].lower()}{message[1:]}"
