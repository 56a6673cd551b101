"""One encoder for every kind of content, and what it should have found: the check before the first step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from runtime.data.chat import ChatEncoder
from runtime.data.encoded import Encoded, MaskRules, Unmaskable
from runtime.data.plain import PlainEncoder
from runtime.data.records import Completion, Content, Conversation, PlainText, TokenRow
from runtime.errors import DataError

CHECKED = 32
"""Conversations that are looked at before all others are encoded."""


class SampleEncoder:
    """Encodes records with one tokenizer (mlx_lm's TokenizerWrapper); each kind's encoder is made when it is needed."""

    def __init__(self, tokenizer: Any, rules: MaskRules, system: str = "") -> None:
        """`system` is the system message of conversations that have none."""
        self._tokenizer, self._rules, self._system = tokenizer, rules, system
        self._chat: ChatEncoder | None = None
        self._plain: PlainEncoder | None = None
        self._kinds: dict[str, None] = {}

    @property
    def method(self) -> str:
        """How the masks were found, for the report."""
        return "; ".join(self._kinds) or "nothing to mask"

    def encode(self, contents: Sequence[Content]) -> list[Encoded | Unmaskable]:
        """One result each, in order. Raises DataError for a conversation where the tokenizer has no chat template."""
        conversations = [each.with_system(self._system) for each in contents if isinstance(each, Conversation)]
        encoded = iter(self._conversations(conversations) if conversations else ())
        return [next(encoded) if isinstance(each, Conversation) else self._one(each) for each in contents]

    def check(self, contents: Sequence[Content]) -> None:
        """Look at the first conversations: some of their tokens must be learnt, and some must not.

        A mask that is all zeros trains nothing and one that is all ones trains on the questions, at a healthy-looking
        loss. Raises DataError with the first conversation as it was tokenised, and the template's beginning.
        """
        first = [each for each in contents if isinstance(each, Conversation)][:CHECKED]
        if not first or self._rules.mask == "all":
            return
        found = self.encode(first)
        good = [each for each in found if isinstance(each, Encoded)]
        learnt, tokens = sum(sum(each.mask) for each in good), sum(len(each.mask) - 1 for each in good)
        if 0 < learnt < tokens or any(each.unlearnt for each in first):
            return
        reason = next((f"; {each}" for each in found if isinstance(each, Unmaskable)), "")
        shown = f"\n  the first one reads {self._tokenizer.decode(list(good[0].ids))!r}" if good else ""
        template = str(getattr(self._tokenizer, "chat_template", ""))
        raise DataError(
            f"{'every' if learnt else 'no'} token of the first {len(first)} conversations would be learnt "
            f"(mask by {self.method}{reason}){shown}\n  the chat template begins {template[:160]!r}\n"
            '  look at model.chat_template and data.mask ("all" learns every token on purpose)'
        )

    def _conversations(self, conversations: Sequence[Conversation]) -> list[Encoded | Unmaskable]:
        if self._chat is None:
            if not self._tokenizer.has_chat_template:
                raise DataError(
                    "the tokenizer has no chat template, and the data are conversations: set model.chat_template to a "
                    ".jinja file, or use data of the formats prompt, text or tokens"
                )
            self._chat = ChatEncoder(self._tokenizer, self._rules)
        self._kinds[self._chat.method] = None
        return self._chat.encode(conversations)

    def _one(self, content: Completion | PlainText | TokenRow) -> Encoded | Unmaskable:
        if self._plain is None:
            self._plain = PlainEncoder(self._tokenizer, self._rules)
        match content:
            case Completion():
                self._kinds["prefix of the prompt"] = None
                return self._plain.completion(content)
            case PlainText():
                self._kinds["nothing: texts are learnt whole"] = None
                return self._plain.text(content)
            case TokenRow():
                self._kinds["the records' own labels"] = None
                return self._plain.row(content)
