"""Which tokens are learnt, by two independent methods, with templates of several families."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from runtime.data.chat import ChatEncoder
from runtime.data.encoded import Encoded, MaskRules, Unmaskable, runs
from runtime.data.records import Conversation, Message
from runtime.models.bytes_tokenizer import END_OF_TEXT_ID, IM_END_ID, IM_START_ID
from tests.unit.data.conftest import TokenizerMaker

CHAT: list[Message] = [
    {"role": "system", "content": "be é"},
    {"role": "user", "content": "q1"},
    {"role": "assistant", "content": "a1é"},
    {"role": "user", "content": "q2"},
    {"role": "assistant", "content": "a2"},
]
SAY = "{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}"
ASK = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
PLAIN = "{% for m in messages %}" + SAY + "{% endfor %}" + ASK
NO_STOP_IN_MARKERS = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' }}"
    "{% if m['role'] == 'assistant' %}{% generation %}{{ m['content'] }}{% endgeneration %}{% else %}{{ m['content'] }}"
    "{% endif %}{{ '<|im_end|>\\n' }}{% endfor %}" + ASK
)
FORGETS_EARLIER = (
    "{% for m in messages %}{% if m['role'] == 'assistant' and not loop.last %}"
    "{{ '<|im_start|>assistant\\n<|im_end|>\\n' }}{% else %}" + SAY + "{% endif %}{% endfor %}" + ASK
)
THINKS = PLAIN.replace("assistant\\n' }}{% endif %}", "assistant\\n<think>' }}{% endif %}")
MORE_HEADER = PLAIN.replace("assistant\\n' }}{% endif %}", "assistant\\n<|endoftext|>' }}{% endif %}")
TWO_BOS = "{{ '<|endoftext|><|endoftext|>' }}" + PLAIN


def alpaca_messages(prompt: str, answer: str) -> list[Message]:
    return [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]


def encode(tokenizer: Any, messages: list[Message] = CHAT, *, markers: bool | None = None, **rules: Any) -> Encoded:
    (found,) = ChatEncoder(tokenizer, MaskRules(**rules), markers=markers).encode([Conversation(tuple(messages))])
    assert isinstance(found, Encoded), found
    return found


def learnt(encoded: Encoded) -> list[bytes]:
    """The stretches of learnt tokens as bytes; a special token shows as a full stop."""
    shown = [bytes([token]) if token < 256 else b"." for token in encoded.ids]
    return [b"".join(shown[start:end]) for start, end in runs(encoded.mask)]


@pytest.mark.parametrize("markers", [True, False])
def test_every_answer_of_a_conversation_is_learnt_with_its_stop_token(tokenizer: Any, markers: bool) -> None:
    encoded = encode(tokenizer, markers=markers)
    assert learnt(encoded) == ["a1é.".encode(), b"a2."]
    assert sum(a != b for a, b in pairwise(encoded.mask)) == 4
    assert encoded.mask[0] == 0


@pytest.mark.parametrize("mask", ["assistant", "last", "completion", "all"])
@pytest.mark.parametrize("train_on_stop", [True, False])
def test_markers_and_prefix_difference_find_the_same_mask(tokenizer: Any, mask: str, train_on_stop: bool) -> None:
    by_markers = encode(tokenizer, markers=True, mask=mask, train_on_stop=train_on_stop)
    assert by_markers == encode(tokenizer, markers=False, mask=mask, train_on_stop=train_on_stop)


@pytest.mark.parametrize("markers", [True, False])
@pytest.mark.parametrize("mask", ["last", "completion"])
def test_only_the_last_answer_is_learnt_on_demand(tokenizer: Any, markers: bool, mask: str) -> None:
    assert learnt(encode(tokenizer, markers=markers, mask=mask)) == [b"a2."]


@pytest.mark.parametrize("markers", [True, False])
def test_the_stop_token_is_left_out_on_demand(tokenizer: Any, markers: bool) -> None:
    assert learnt(encode(tokenizer, markers=markers, train_on_stop=False)) == ["a1é".encode(), b"a2"]


def test_all_means_every_token_but_the_first(tokenizer: Any) -> None:
    encoded = encode(tokenizer, mask="all")
    assert encoded.mask == (0, *([1] * (len(encoded.ids) - 1)))


@pytest.mark.parametrize("markers", [True, False])
def test_an_empty_answer_is_its_stop_token(tokenizer: Any, markers: bool) -> None:
    assert learnt(encode(tokenizer, alpaca_messages("q", ""), markers=markers)) == [b"."]


def test_the_method_follows_the_template(make_tokenizer: TokenizerMaker, tokenizer: Any) -> None:
    assert ChatEncoder(tokenizer, MaskRules()).method == "generation markers of the chat template"
    assert ChatEncoder(make_tokenizer(PLAIN), MaskRules()).method == "checked prefix difference"


def test_a_template_without_markers_gives_the_same_tokens_and_mask(
    make_tokenizer: TokenizerMaker, tokenizer: Any
) -> None:
    assert encode(make_tokenizer(PLAIN)) == encode(tokenizer)


def test_a_stop_token_outside_the_markers_is_learnt_all_the_same(
    make_tokenizer: TokenizerMaker, tokenizer: Any
) -> None:
    ascii_chat = alpaca_messages("q", "answer")
    assert encode(make_tokenizer(NO_STOP_IN_MARKERS), ascii_chat, markers=True) == encode(tokenizer, ascii_chat)
    without = encode(make_tokenizer(NO_STOP_IN_MARKERS), ascii_chat, markers=True, train_on_stop=False)
    assert learnt(without) == [b"answer"]


def test_markers_that_lose_bytes_of_a_letter_are_not_trusted(make_tokenizer: TokenizerMaker, tokenizer: Any) -> None:
    found = make_tokenizer(NO_STOP_IN_MARKERS)
    assert ChatEncoder(found, MaskRules()).method == "checked prefix difference"
    assert encode(found) == encode(tokenizer)


def test_an_earlier_turn_that_the_template_rewrites_is_refused_unless_only_the_last_is_learnt(
    make_tokenizer: TokenizerMaker,
) -> None:
    found = make_tokenizer(FORGETS_EARLIER)
    (refused,) = ChatEncoder(found, MaskRules()).encode([Conversation(tuple(CHAT))])
    assert isinstance(refused, Unmaskable)
    assert 'rewrites turn 3 when more turns follow; use mask = "last"' in str(refused)
    assert learnt(encode(found, mask="last")) == [b"a2."]


def test_a_question_that_is_no_prefix_of_its_answer_is_refused(make_tokenizer: TokenizerMaker) -> None:
    (refused,) = ChatEncoder(make_tokenizer(THINKS), MaskRules()).encode([Conversation(tuple(CHAT))])
    assert isinstance(refused, Unmaskable)
    assert "before turn 3 is not a prefix of its answer" in str(refused)


def test_a_header_that_differs_by_special_tokens_only_begins_the_answer_earlier(make_tokenizer: TokenizerMaker) -> None:
    assert learnt(encode(make_tokenizer(MORE_HEADER))) == ["a1é.".encode(), b"a2."]


def test_a_doubled_beginning_of_sequence_is_made_one(make_tokenizer: TokenizerMaker, tokenizer: Any) -> None:
    found = make_tokenizer(TWO_BOS)
    found._tokenizer.bos_token = "<|endoftext|>"
    encoded = encode(found)
    assert encoded.ids[:2] == (END_OF_TEXT_ID, IM_START_ID)
    assert learnt(encoded) == ["a1é.".encode(), b"a2."]


def test_a_template_without_a_stop_token_learns_to_the_end_of_the_answer(make_tokenizer: TokenizerMaker) -> None:
    template = "{% for m in messages %}{{ m['role'][0] + ':' + m['content'] + '\\n' }}{% endfor %}"
    found = make_tokenizer(template + "{% if add_generation_prompt %}a:{% endif %}")
    assert learnt(encode(found)) == ["a1é\n".encode(), b"a2\n"]


def test_text_after_the_last_special_token_is_still_the_answer(make_tokenizer: TokenizerMaker) -> None:
    found = make_tokenizer(PLAIN)
    assert learnt(encode(found, alpaca_messages("q", "x<|endoftext|>y"))) == [b"x.y."]


def test_pad_equal_to_stop_is_still_learnt(tokenizer: Any) -> None:
    assert encode(tokenizer).ids.count(IM_END_ID) == 5
    assert sum(bit for token, bit in zip(*vars(encode(tokenizer)).values(), strict=True) if token == IM_END_ID) == 2


def test_no_conversations_are_no_results(tokenizer: Any) -> None:
    assert ChatEncoder(tokenizer, MaskRules()).encode([]) == []


def test_runs_are_half_open() -> None:
    assert runs([1, 1, 0, 0, 1]) == [(0, 2), (4, 5)]
    assert runs([0, 0]) == runs([]) == []
