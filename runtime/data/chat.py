"""From conversations to token ids with a mask per token: which tokens are learnt is known from the template, never
guessed from ids.

Two ways to know it. A template with generation markers says it itself. Without markers, the tokens of a conversation up
to an answer are compared with those after it: the difference is the answer, provided that the shorter is a prefix of
the longer. Templates that write an earlier answer in another way than the last one (Qwen 3 leaves out the thoughts of
earlier turns) are compared with the same conversation in which that answer is empty: what stands in front of it and
behind it must be equal. Where neither holds the sample is refused with the reason, because a guess would train on the
wrong tokens.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from jinja2 import TemplateError

from runtime.data.encoded import Encoded, MaskRules, Unmaskable, runs
from runtime.data.records import Conversation, Message
from runtime.models.tokenizer import rendered_ids, without_second_bos

Spans: TypeAlias = tuple[list[int], list[tuple[int, int]]]
"""Token ids of a conversation, and the answers in it as [start, end)."""
_MARKER = re.compile(r"\{%[-+]?\s*generation\s*[-+]?%\}")
_REFUSALS = (TemplateError, TypeError, KeyError, ValueError, AttributeError, IndexError)
"""What a template raises that cannot render this conversation."""


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

    def encode(self, conversations: Sequence[Conversation]) -> list[Encoded | Unmaskable]:
        """One result per conversation, in order; a conversation that cannot be masked gives its reason instead."""
        marked = [self._markers_suffice(each) for each in conversations]
        by_markers = iter(self._all_by_markers([each for each, fit in zip(conversations, marked, strict=True) if fit]))
        found = [
            next(by_markers) if fit else self._spans_by_prefix(each)
            for each, fit in zip(conversations, marked, strict=True)
        ]
        return [spans if isinstance(spans, Unmaskable) else self._finish(*spans) for spans in found]

    def learns_stop(self) -> bool:
        """Whether a short conversation's answer ends with a stop token that is learnt; False where it cannot be
        rendered."""
        probe = Conversation(({"role": "user", "content": "hello"}, {"role": "assistant", "content": "zebra"}))
        (found,) = self.encode([probe])
        if isinstance(found, Unmaskable):
            return False
        learnt = [token for token, bit in zip(found.ids, found.mask, strict=True) if bit]
        return bool(learnt) and learnt[-1] in self._stop_ids

    # ---- by markers

    def _has_markers(self) -> bool:
        template = getattr(self._tokenizer, "chat_template", None)
        custom = getattr(self._wrapper, "_chat_template", None)
        fast = bool(getattr(self._tokenizer, "is_fast", False))
        return fast and custom is None and isinstance(template, str) and _MARKER.search(template) is not None

    def _markers_are_whole(self) -> bool:
        """Whether the marked tokens hold an answer's last letter; it may lose bytes of one that takes several."""
        answer = "zebra\u00e9"
        found = self._by_markers(
            [Conversation(({"role": "user", "content": "hello"}, {"role": "assistant", "content": answer}))]
        )
        if isinstance(found, Unmaskable):
            return False
        ((ids, spans),) = found
        return answer in self._tokenizer.decode([token for start, end in spans for token in ids[start:end]])

    def _markers_suffice(self, conversation: Conversation) -> bool:
        """Markers tell learnt tokens from others, not turns from turns: a mask without some answers needs the turns."""
        if not self._markers or self._rules.mask == "all" or conversation.unlearnt:
            return False
        return self._rules.mask != "completion" or conversation.completion_from is None

    def _all_by_markers(self, conversations: Sequence[Conversation]) -> list[Spans | Unmaskable]:
        """One result each. Those without tools are rendered at once, unless the template refuses one of them."""
        plain = [each for each in conversations if not each.tools]
        together = self._by_markers(plain)
        quick = iter(() if isinstance(together, Unmaskable) else together)
        found: list[Spans | Unmaskable] = []
        for each in conversations:
            if not each.tools and not isinstance(together, Unmaskable):
                found.append(next(quick))
                continue
            alone = self._by_markers([each])
            found.append(alone if isinstance(alone, Unmaskable) else alone[0])
        return found

    def _by_markers(self, conversations: Sequence[Conversation]) -> list[Spans] | Unmaskable:
        """The spans of conversations with the same tools, or why one of them cannot be rendered."""
        if not conversations:
            return []
        options = {"enable_thinking": self._wrapper.has_thinking}  # as mlx_lm does when it asks
        try:
            out = self._tokenizer.apply_chat_template(
                [list(each.messages) for each in conversations],
                tools=list(conversations[0].tools) or None,
                tokenize=True,
                return_dict=True,
                return_assistant_tokens_mask=True,
                **options,
            )
        except _REFUSALS as error:
            return _refused(error)
        first = 0 if self._rules.mask == "assistant" else -1
        pairs = zip(out["input_ids"], out["assistant_masks"], strict=True)
        return [(list(ids), runs(mask)[first:]) for ids, mask in pairs]

    # ---- by difference

    def _spans_by_prefix(self, conversation: Conversation) -> Spans | Unmaskable:
        messages, tools = conversation.messages, conversation.tools
        try:
            full = self._render(messages, tools, asking=False)
            spans = []
            for turn in self._turns_to_learn(conversation):
                span = self._span_of(full, messages, tools, turn)
                if isinstance(span, Unmaskable):
                    return span
                spans.append(span)
        except _REFUSALS as error:
            return _refused(error)
        return full, spans

    def _turns_to_learn(self, conversation: Conversation) -> list[int]:
        if self._rules.mask == "all":
            return []
        turns = [turn for turn, message in enumerate(conversation.messages) if message["role"] == "assistant"]
        if self._rules.mask == "completion" and conversation.completion_from is not None:
            turns = [turn for turn in turns if turn >= conversation.completion_from]
        elif self._rules.mask != "assistant":
            turns = turns[-1:]
        return [turn for turn in turns if turn not in conversation.unlearnt]

    def _span_of(
        self, full: list[int], messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], turn: int
    ) -> tuple[int, int] | Unmaskable:
        """Where the answer of `turn` stands in `full`, its stop token included."""
        before = self._render(messages[:turn], tools, asking=True)
        after = self._render(messages[: turn + 1], tools, asking=False)
        if full[: len(after)] != after:
            return self._span_in_company(full, before, messages, tools, turn)
        start = self._answer_start(before, after)
        if start is None:
            return Unmaskable(f"the chat template's question before turn {turn + 1} is not a prefix of its answer")
        return start, self._answer_end(after, start)

    def _span_in_company(
        self,
        full: list[int],
        before: list[int],
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]],
        turn: int,
    ) -> tuple[int, int] | Unmaskable:
        """The answer of `turn` where later turns change how it is written: what an empty answer leaves unchanged."""
        answer = str(messages[turn]["content"]).strip()
        emptied = [*messages[:turn], {"role": "assistant", "content": ""}, *messages[turn + 1 :]]
        without = self._render(emptied, tools, asking=False)
        tail = len(without) - len(before)
        framed = full[: len(before)] == before == without[: len(before)]
        framed = framed and 0 < tail <= len(full) - len(before) and full[-tail:] == without[-tail:]
        start, end = len(before), len(full) - tail
        if not framed or not answer or answer not in self._tokenizer.decode(full[start:end]):
            return Unmaskable(f'the chat template rewrites turn {turn + 1} when more turns follow; use mask = "last"')
        return start, end + (full[end] in self._stop_ids)

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

    def _render(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], *, asking: bool) -> list[int]:
        options = {"tools": list(tools)} if tools else {}
        return rendered_ids(self._wrapper.apply_chat_template(list(messages), add_generation_prompt=asking, **options))

    # ---- both

    def _finish(self, ids: list[int], spans: list[tuple[int, int]]) -> Encoded:
        single = without_second_bos(ids, getattr(self._tokenizer, "bos_token_id", None))
        doubled = len(ids) - len(single)
        ids, spans = single, [(start - doubled, end - doubled) for start, end in spans]
        mask = [0] * len(ids)
        if self._rules.mask == "all":
            spans = [(0, len(ids))]
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


def _refused(error: Exception) -> Unmaskable:
    first = str(error).partition("\n")[0]
    return Unmaskable(f"the chat template refuses the conversation: {first or type(error).__name__}")
