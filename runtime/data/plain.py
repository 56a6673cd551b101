"""Texts, completions and token rows to masked tokens: everything that needs no chat template."""

from __future__ import annotations

from typing import Any

from runtime.data.encoded import Encoded, MaskRules, Unmaskable
from runtime.data.records import Completion, PlainText, TokenRow
from runtime.models.generate import text_tokens


class PlainEncoder:
    """Encodes texts with one tokenizer (mlx_lm's TokenizerWrapper) under one set of rules.

    Each text ends with the tokenizer's end-of-sequence token, once, and begins with what the tokenizer puts there.
    """

    def __init__(self, tokenizer: Any, rules: MaskRules) -> None:
        self._tokenizer, self._rules = tokenizer, rules
        self._eos = tokenizer.eos_token_id
        self._vocabulary = max(tokenizer.get_vocab().values(), default=-1) + 1

    def text(self, plain: PlainText) -> Encoded:
        """Every token is learnt but the first, which is a target of nothing."""
        ids = text_tokens(self._tokenizer, plain.text)
        return self._ended(ids, 1)

    def completion(self, pair: Completion) -> Encoded | Unmaskable:
        """The completion is learnt; with the mask `all`, the prompt as well.

        Tokens are those of the whole text where the prompt's own are their beginning, so that the model continues what
        it is asked with. Where a token reaches over the border, prompt and completion are tokenised apart, provided
        that both together still read the same.
        """
        prompt = text_tokens(self._tokenizer, pair.prompt)
        whole = text_tokens(self._tokenizer, pair.prompt + pair.completion)
        if whole[: len(prompt)] != prompt:
            apart = [*prompt, *self._tokenizer.encode(pair.completion, add_special_tokens=False)]
            if self._tokenizer.decode(apart) != self._tokenizer.decode(whole):
                return Unmaskable("a token reaches from the prompt into the completion, and apart they read otherwise")
            whole = apart
        return self._ended(whole, 1 if self._rules.mask == "all" else len(prompt))

    def row(self, row: TokenRow) -> Encoded | Unmaskable:
        """The row as it is, its first token aside. Labels and masks of the record count more than the rules."""
        foreign = next((token for token in row.ids if not 0 <= token < self._vocabulary), None)
        if foreign is not None:
            return Unmaskable(f"token {foreign} is not in the tokenizer's vocabulary of {self._vocabulary}")
        return Encoded(row.ids, (0, *row.mask[1:]))

    def _ended(self, ids: list[int], start: int) -> Encoded:
        """`ids` and the end-of-sequence token, learnt from `start` on (never the first)."""
        start = max(1, start)
        mask = [0] * min(start, len(ids)) + [1] * (len(ids) - start)
        if self._eos is not None:
            if not ids or ids[-1] != self._eos:
                ids, mask = [*ids, self._eos], [*mask, 1]
            mask[-1] = int(self._rules.train_on_stop and len(mask) > 1)
        return Encoded(tuple(ids), tuple(mask))
