"""What clients may ask: the bodies of `/v1/chat/completions` and `/v1/completions`, checked to the last type.

Parameters that would change the answer and cannot be honoured are refused by name; those that only describe the client
are accepted and ignored (`IGNORED`). Sampling beyond OpenAI's (top_k, min_p, repetition_penalty, xtc) is mlx-lm's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

IGNORED = (
    "user", "metadata", "store", "service_tier", "parallel_tool_calls", "safety_identifier", "prompt_cache_key",
    "prompt_cache_retention", "reasoning_effort", "verbosity",
)  # fmt: skip
"""Parameters of OpenAI's that say who asks, or how much it may cost: nothing here depends on them."""
LONGEST_ANSWER = 1_000_000
"""Tokens; what a client may ask for where the model itself knows no limit."""

_NOT_FOR_CLIENTS = {
    "tokenize", "return_dict", "return_tensors", "add_generation_prompt", "tools", "conversation", "chat_template",
}  # fmt: skip
"""Options of `apply_chat_template` that the server itself sets."""

Fraction: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Penalty: TypeAlias = Annotated[float, Field(ge=-2, le=2)]
Tokens: TypeAlias = Annotated[int, Field(ge=1, le=LONGEST_ANSWER)]
StopText: TypeAlias = Annotated[str, Field(min_length=1, max_length=1000)]


class Table(BaseModel):
    """A JSON object whose keys and types are what they must be: `"5"` is no number, `true` is no 1."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class StreamOptions(Table):
    """`stream_options`."""

    include_usage: bool = False
    include_obfuscation: bool = False


class TextPart(Table):
    """A part of a message's content. Pictures, sounds and files are not understood here."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    type: Literal["text"]
    text: str


class Message(Table):
    """One message of a conversation; what a template cannot use (an id, annotations) is dropped."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = None
    name: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None

    def for_template(self) -> dict[str, Any]:
        """The message as a chat template takes it: content is one text."""
        parts = self.content if isinstance(self.content, list) else None
        content = "".join(part.text for part in parts) if parts is not None else (self.content or "")
        role = "system" if self.role == "developer" else self.role
        further = {
            "name": self.name,
            "tool_calls": self.tool_calls,
            "tool_call_id": self.tool_call_id,
            "reasoning_content": self.reasoning_content,
        }
        return {"role": role, "content": content, **{key: value for key, value in further.items() if value}}


class Function(Table):
    """What a tool is called and takes."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None


class Tool(Table):
    """One of `tools`."""

    type: Literal["function"]
    function: Function


class ResponseFormat(Table):
    """`response_format`: only texts; an answer is never forced into a schema here."""

    type: Literal["text"]


class Asked(Table):
    """What both kinds of requests have in common."""

    model: str | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: Tokens | None = None
    temperature: Annotated[float, Field(ge=0, le=100)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0)] = 0
    min_p: Fraction = 0.0
    repetition_penalty: Annotated[float, Field(ge=0, le=100)] = 0.0
    repetition_context_size: Annotated[int, Field(ge=0)] = 20
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    xtc_probability: Fraction = 0.0
    xtc_threshold: Fraction = 0.1
    logit_bias: Mapping[str, Annotated[float, Field(ge=-100, le=100)]] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    """A request with one is computed alone, after those that came before it: what it draws depends on nobody else."""
    stop: StopText | Annotated[list[StopText], Field(max_length=16)] | None = None
    n: Literal[1] | None = None

    @model_validator(mode="before")
    @classmethod
    def _without_ignored(cls, body: Any) -> Any:
        return {key: value for key, value in body.items() if key not in IGNORED} if isinstance(body, dict) else body

    @field_validator("logit_bias")
    @classmethod
    def _token_ids(cls, biases: Mapping[str, float] | None) -> Mapping[str, float] | None:
        for token in biases or {}:
            if not (token.isascii() and token.isdigit()):
                raise ValueError(f"the keys are token ids, not {token!r}")
        return biases

    @property
    def stops(self) -> tuple[str, ...]:
        """Texts that end the answer; none of them is sent."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def biases(self) -> dict[int, float]:
        """What is added to the logit of each token."""
        return {int(token): float(bias) for token, bias in (self.logit_bias or {}).items()}

    @property
    def longest(self) -> int | None:
        """Most tokens of the answer; None: as many as the server says."""
        return self.max_tokens

    @property
    def alternatives(self) -> int:
        """How many likeliest tokens are told beside each token; -1: no probability is told at all."""
        return -1


class ChatRequest(Asked):
    """The body of `/v1/chat/completions`."""

    messages: Annotated[list[Message], Field(min_length=1)]
    max_completion_tokens: Tokens | None = None
    tools: list[Tool] | None = None
    tool_choice: Literal["auto", "none"] | None = None
    response_format: ResponseFormat | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    chat_template_kwargs: dict[str, Any] | None = None

    @field_validator("chat_template_kwargs")
    @classmethod
    def _not_ours(cls, options: dict[str, Any] | None) -> dict[str, Any] | None:
        if taken := sorted(_NOT_FOR_CLIENTS & set(options or {})):
            raise ValueError(f"{', '.join(taken)} cannot be set by a client")
        return options

    @property
    def longest(self) -> int | None:
        """`max_completion_tokens`, or its older name."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens

    @property
    def alternatives(self) -> int:
        """As `Asked.alternatives`."""
        return (self.top_logprobs or 0) if self.logprobs else -1

    def conversation(self) -> list[dict[str, Any]]:
        """The messages as a chat template takes them."""
        return [message.for_template() for message in self.messages]

    def usable_tools(self) -> list[dict[str, Any]]:
        """The tools that the model may call."""
        chosen = [] if self.tool_choice == "none" else self.tools or []
        return [tool.model_dump(exclude_none=True) for tool in chosen]


class CompletionRequest(Asked):
    """The body of `/v1/completions`: a text (or its token ids) to be continued."""

    prompt: str | list[str] | list[Annotated[int, Field(ge=0)]]
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None
    echo: Literal[False] | None = None
    best_of: Literal[1] | None = None
    suffix: Literal[""] | None = None

    @field_validator("prompt")
    @classmethod
    def _one(cls, prompt: str | list[str] | list[int]) -> str | list[str] | list[int]:
        if isinstance(prompt, list) and any(isinstance(each, str) for each in prompt) and len(prompt) != 1:
            raise ValueError("one prompt for each request")
        return prompt

    @property
    def text(self) -> str | list[int]:
        """The text to be continued, or its token ids."""
        match self.prompt:
            case [str() as only]:
                return only
            case _:
                return self.prompt  # type: ignore[return-value]  # a list of texts has one, and was matched above

    @property
    def alternatives(self) -> int:
        """As `Asked.alternatives`."""
        return -1 if self.logprobs is None else self.logprobs
