"""Questions that training never sees, as a model is asked them: through the template, or as a text to be continued."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runtime.data.records import Completion, Content, Conversation, Instructions, Message
from runtime.models.generate import prompt_tokens, text_tokens


@dataclass(frozen=True)
class HeldOutPrompt:
    """A question that training never sees, and the answer it should get."""

    messages: tuple[Message, ...]
    """Empty for a text that is to be continued."""
    answer: str
    text: str = ""
    """The text to be continued, where there are no messages."""
    tools: tuple[Mapping[str, Any], ...] = ()
    instructions: Instructions = ()
    """What it asks for that a program can check."""

    @property
    def question(self) -> str:
        """What is asked, in short: the last message, or the text."""
        return str(self.messages[-1]["content"]) if self.messages else self.text

    def tokens(self, tokenizer: Any) -> list[int]:
        """Token ids in front of the answer, the same as in training."""
        if self.messages:
            return prompt_tokens(tokenizer, self.messages, self.tools)
        return text_tokens(tokenizer, self.text)


def prompt_of(content: Content, system: str = "", instructions: Instructions = ()) -> HeldOutPrompt | None:
    """What a held-out sample asks, with the default system message; None for texts and token rows."""
    match content:
        case Conversation():
            whole = content.with_system(system)
            answer = str(whole.messages[whole.last_answer]["content"])
            return HeldOutPrompt(whole.question, answer, tools=whole.tools, instructions=instructions)
        case Completion():
            return HeldOutPrompt((), content.completion, text=content.prompt, instructions=instructions)
        case _:
            return None
