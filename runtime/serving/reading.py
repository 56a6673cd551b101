"""From tokens to what is sent: thoughts, calls of tools and the answer are told apart, and stop texts end it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from runtime.serving.stops import StopCutter


@dataclass
class Delta:
    """What has come since the last one."""

    content: str = ""
    reasoning: str = ""
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    likelihoods: list[Likelihood] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.content or self.reasoning or self.tool_calls or self.likelihoods)


@dataclass(frozen=True)
class Likelihood:
    """A token of the answer with its logarithmic probability, and the likeliest in its place."""

    token: str
    logprob: float
    others: tuple[tuple[str, float], ...]


class Reading:
    """Reads one answer. `finish_reason` is None until it is over; then nothing more may be fed."""

    def __init__(
        self,
        context: Any,
        stops: Sequence[str],
        decode: Callable[[int], str] | None,
        tool_calls: Callable[[str], list[dict[str, Any]]],
    ) -> None:
        """`context` is mlx-lm's GenerationContext; None: the text is taken as it is, thoughts and calls included.

        With `decode`, likelihoods are told; `tool_calls` parses a call.
        """
        self._machine = None if context is None else context.text_sm
        self._state = None if context is None else context.text_sm.make_state(context.initial_state)
        self._cutter = StopCutter(stops)
        self._decode, self._tool_calls = decode, tool_calls
        self._call = ""
        self._called = 0
        self.tokens = 0
        """Tokens of the answer so far, the one that ended it included."""
        self.finish_reason: str | None = None
        """OpenAI's: stop, length or tool_calls."""

    def feed(self, item: Any) -> Delta:
        """Read the next token (mlx-lm's Response)."""
        self.tokens += 1
        delta = Delta()
        if self._decode is not None and item.finish_reason != "stop":
            delta.likelihoods.append(_likelihood(item, self._decode))
        for part, text in self._parts(item.text):
            self._take(delta, part, text)
        if self._cutter.stopped:
            self.finish_reason = "stop"
        elif item.finish_reason is not None:
            self._end(delta, item.finish_reason)
        return delta

    def _end(self, delta: Delta, reason: str) -> None:
        if self._machine is not None:
            self._state, rest, part = self._machine.flush(self._state)
            self._take(delta, part, rest)
        self._finish_call(delta)
        delta.content += self._cutter.finish()
        stopped = reason == "stop" or self._cutter.stopped
        self.finish_reason = reason if not stopped else "tool_calls" if self._called else "stop"

    def _parts(self, text: str) -> Sequence[tuple[str | None, str]]:
        if self._machine is None:
            return [("normal", text)]
        parts: Sequence[tuple[str | None, str]]
        self._state, parts = self._machine.split(self._state, text)
        return parts

    def _take(self, delta: Delta, part: str | None, text: str) -> None:
        if part == "tool":
            self._call += text
        else:
            self._finish_call(delta)
        if part == "reasoning":
            delta.reasoning += text
        elif part == "normal":
            delta.content += self._cutter.feed(text)

    def _finish_call(self, delta: Delta) -> None:
        """The text of a call is whole. What cannot be parsed is sent as it was written."""
        text, self._call = self._call, ""
        if not text:
            return
        calls = self._tool_calls(text)
        for call in calls:
            delta.tool_calls.append({"index": self._called, **call})
            self._called += 1
        if not calls:
            delta.content += self._cutter.feed(text)


def _likelihood(item: Any, decode: Callable[[int], str]) -> Likelihood:
    others = tuple((decode(each["id"]), float(each["logprob"])) for each in item.top_tokens)
    return Likelihood(decode(item.token), float(item.logprob), others)
