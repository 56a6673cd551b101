"""From messages to token ids with a mask per token: which tokens are learnt is known from the template, never from ids.

Two ways to know it. A template with generation markers says it itself. Without markers, the tokens of a conversation up
to an answer are compared with those after it: the difference is the answer, provided that the shorter is a prefix of
the longer; where it is not, the sample is refused with the reason, because a guess would train on the wrong tokens.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Message: TypeAlias = dict[str, str]
Spans: TypeAlias = tuple[list[int], list[tuple[int, int]]]
"""Token ids of a conversation, and the answers in it as [start, end)."""
_MARKER = re.compile(r"\{%-?\s*generation\s*-?%\}")


class Unmaskable(ValueError):
    """This conversation cannot be masked with this template; the text is the reason for the quarantine."""


@dataclass(frozen=True)
class MaskRules:
    """Which tokens are learnt."""

    mask: str = "assistant"
    """`assistant` every answer, `last` and `completion` the last one, `all` every token."""
    train_on_stop: bool = True
    """Learn the token that ends an answer."""


@dataclass(frozen=True)
class Encoded:
    """Token ids and, for each, 1 where it is learnt; the first token is a target of nothing and never learnt."""

    ids: tuple[int, ...]
    mask: tuple[int, ...]


def alpaca_messages(prompt: str, answer: str, system: str = "") -> list[Message]:
    """One question and its answer, after the system message when there is one."""
    head: list[Message] = [{"role": "system", "content": system}] if system else []
    return [*head, {"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]


class ChatEncoder:
    """Encodes conversations with one tokenizer (mlx_lm's TokenizerWrapper) under one set of rules."""

    def __init__(self, tokenizer: Any, rules: MaskRules, *, markers: bool | None = None) -> None:
        self._wrapper = tokenizer
        self._tokenizer = getattr(tokenizer, "_tokenizer", tokenizer)
        self._rules = rules
        self._stop_ids = set(tokenizer.eos_token_ids)
        self._special_ids = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
        self._markers = (self._has_markers() and self._markers_are_whole()) if markers is None else markers

    @property
    def method(self) -> str:
        """How the mask is found, for the report."""
        return "generation markers of the chat template" if self._markers else "checked prefix difference"

    def encode(self, conversations: Sequence[Sequence[Message]]) -> list[Encoded | Unmaskable]:
        """One result per conversation, in order; a conversation that cannot be masked gives its reason instead."""
        spans: Iterable[Spans | Unmaskable]
        spans = self._spans_by_markers(conversations) if self._markers else map(self._spans_by_prefix, conversations)
        return [found if isinstance(found, Unmaskable) else self._finish(*found) for found in spans]

    def _has_markers(self) -> bool:
        template = getattr(self._tokenizer, "chat_template", None)
        custom = getattr(self._wrapper, "_chat_template", None)
        fast = bool(getattr(self._tokenizer, "is_fast", False))
        return fast and custom is None and isinstance(template, str) and _MARKER.search(template) is not None

    def _markers_are_whole(self) -> bool:
        """Whether the marked tokens hold an answer's last letter; it may lose bytes of one that takes several."""
        answer = "zebra\u00e9"
        conversation = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": answer}]
        (found,) = self._spans_by_markers([conversation])
        ids, spans = found
        return answer in self._tokenizer.decode([token for start, end in spans for token in ids[start:end]])

    def _spans_by_markers(self, conversations: Sequence[Sequence[Message]]) -> list[Spans]:
        if not conversations:
            return []
        options = {"enable_thinking": self._wrapper.has_thinking}  # as mlx_lm does when it asks
        out = self._tokenizer.apply_chat_template(
            [list(messages) for messages in conversations],
            tokenize=True,
            return_dict=True,
            return_assistant_tokens_mask=True,
            **options,
        )
        return [(list(ids), runs(mask)) for ids, mask in zip(out["input_ids"], out["assistant_masks"], strict=True)]

    def _spans_by_prefix(self, messages: Sequence[Message]) -> Spans | Unmaskable:
        full = self._render(messages, asking=False)
        spans = []
        for turn in self._turns_to_learn(messages):
            before = self._render(messages[:turn], asking=True)
            after = self._render(messages[: turn + 1], asking=False)
            if full[: len(after)] != after:
                return Unmaskable(
                    f'the chat template rewrites turn {turn + 1} when more turns follow; use mask = "last"'
                )
            start = self._answer_start(before, after)
            if start is None:
                return Unmaskable(f"the chat template's question before turn {turn + 1} is not a prefix of its answer")
            spans.append((start, self._answer_end(after, start)))
        return full, spans

    def _turns_to_learn(self, messages: Sequence[Message]) -> list[int]:
        turns = [turn for turn, message in enumerate(messages) if message["role"] == "assistant"]
        return turns if self._rules.mask == "assistant" else turns[-1:]

    def _answer_start(self, before: list[int], after: list[int]) -> int | None:
        """Where the answer begins: after the whole question, or after the part of its header that both share."""
        common = next(
            (at for at, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), min(len(before), len(after))
        )
        if common == len(before):
            return common
        differing = before[common:]
        header_only = common > 0 and all(token in self._special_ids for token in differing)
        return common if header_only else None

    def _answer_end(self, after: list[int], start: int) -> int:
        """Just past the answer's stop token, without what the template writes after it; the end when there is none."""
        end = len(after)
        while end > start and after[end - 1] not in self._special_ids | self._stop_ids:
            end -= 1
        if end == start or self._tokenizer.decode(after[end:]).strip():
            return len(after)
        return end

    def _finish(self, ids: list[int], spans: list[tuple[int, int]]) -> Encoded:
        bos = getattr(self._tokenizer, "bos_token_id", None)
        if bos is not None and len(ids) > 1 and ids[0] == ids[1] == bos:  # template and post-processor both wrote one
            ids, spans = ids[1:], [(start - 1, end - 1) for start, end in spans]
        mask = [0] * len(ids)
        if self._rules.mask == "all":
            spans = [(0, len(ids))]
        elif self._rules.mask != "assistant":
            spans = spans[-1:]
        for start, end in spans:
            mask[start:end] = [1] * (end - start)
            if self._rules.mask != "all":
                self._settle_stop(ids, mask, end)
        mask[:1] = [0] * len(mask[:1])
        return Encoded(tuple(ids), tuple(mask))

    def _settle_stop(self, ids: list[int], mask: list[int], end: int) -> None:
        """The stop token of the answer up to `end`: learnt even where the markers leave it out, or not at all."""
        inside = ids[end - 1] in self._stop_ids
        if inside and not self._rules.train_on_stop:
            mask[end - 1] = 0
        if not inside and self._rules.train_on_stop and end < len(ids) and ids[end] in self._stop_ids:
            mask[end] = 1

    def _render(self, messages: Sequence[Message], *, asking: bool) -> list[int]:
        rendered = self._wrapper.apply_chat_template(list(messages), add_generation_prompt=asking)
        return list(rendered)


def runs(mask: Sequence[int]) -> list[tuple[int, int]]:
    """The maximal runs of ones in `mask`, as [start, end)."""
    edges = [at for at in range(len(mask) + 1) if (mask[at] if at < len(mask) else 0) != (mask[at - 1] if at else 0)]
    return list(zip(edges[::2], edges[1::2], strict=True))
