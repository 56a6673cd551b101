"""What a record becomes, whatever its format: a conversation, a prompt with its completion, a text, or tokens.

A record that cannot be used is never dropped in silence: it becomes a `Quarantined` with file, line and reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

Message: TypeAlias = dict[str, Any]
"""`role` and `content` (a text); further keys of chat templates (tool_calls, name, reasoning_content) as they are."""
Instructions: TypeAlias = tuple[tuple[str, Mapping[str, Any]], ...]
"""(IFEval's id, its arguments) of each thing that a prompt asks for and a program can check."""


@dataclass(frozen=True)
class Quarantined:
    """One record that was not taken, and why."""

    file: str
    line: int
    """From 1; in a file that is not read by lines, the record's number in it."""
    reason: str


class Malformed(ValueError):
    """What is wrong with a record, as the reason for its quarantine."""


@dataclass(frozen=True)
class Conversation:
    """Turns of a system, a user, an assistant and its tools, checked."""

    messages: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...] = ()
    """JSON schemas of the functions that the assistant may call; every rendering of the template gets them."""
    unlearnt: frozenset[int] = frozenset()
    """Turns of the assistant that are never learnt (OpenAI's `weight = 0`)."""
    completion_from: int | None = None
    """Where the completion begins, in a record that has one; None elsewhere."""

    @property
    def question(self) -> tuple[Message, ...]:
        """Everything before the last answer."""
        return self.messages[: self.last_answer]

    @property
    def last_answer(self) -> int:
        """The last turn of the assistant; a checked conversation has one."""
        return max(turn for turn, message in enumerate(self.messages) if message["role"] == "assistant")

    def with_system(self, system: str) -> Conversation:
        """The same after this system message, unless `system` is empty or the conversation has its own."""
        if not system or self.messages[0]["role"] == "system":
            return self
        start = None if self.completion_from is None else self.completion_from + 1
        moved = frozenset(turn + 1 for turn in self.unlearnt)
        return Conversation(({"role": "system", "content": system}, *self.messages), self.tools, moved, start)

    @property
    def opening(self) -> str:
        """What was said before the first answer, without the default system message: equal for equal questions."""
        first = next(turn for turn, message in enumerate(self.messages) if message["role"] == "assistant")
        return "\n".join(str(message["content"]) for message in self.messages[:first])


@dataclass(frozen=True)
class Completion:
    """A text and what follows it, without a chat template."""

    prompt: str
    completion: str

    @property
    def opening(self) -> str:
        """The prompt: equal for equal questions."""
        return self.prompt


@dataclass(frozen=True)
class PlainText:
    """A text of which every token is learnt."""

    text: str

    @property
    def opening(self) -> str:
        """The text itself: equal texts are one question."""
        return self.text


@dataclass(frozen=True)
class TokenRow:
    """A sample that was tokenised elsewhere."""

    ids: tuple[int, ...]
    mask: tuple[int, ...]
    """1 where the token is learnt, as the record's labels or mask say; all ones without either."""

    @property
    def opening(self) -> str:
        """What is read before the first learnt token; the whole sample where everything is learnt."""
        first = next((at for at, bit in enumerate(self.mask) if bit), 0)
        return " ".join(map(str, self.ids[: first if first > 1 else len(self.ids)]))


Content: TypeAlias = Conversation | Completion | PlainText | TokenRow


@dataclass(frozen=True)
class Record:
    """One record that was taken, and its place."""

    content: Content
    file: str
    line: int
    instructions: Instructions = ()
    """What its prompt asks for that a program can check."""


@dataclass(frozen=True)
class Records:
    """Everything that a source held."""

    taken: tuple[Record, ...]
    quarantined: tuple[Quarantined, ...]
    format_reason: str
    """Which format was read and why: `alpaca: train.jsonl:1 has the columns instruction, output`."""

    @property
    def total(self) -> int:
        """Records seen, good and bad."""
        return len(self.taken) + len(self.quarantined)
