"""The check before the first step, and contents of several kinds in one order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runtime.data.encoded import Encoded, MaskRules
from runtime.data.encoder import SampleEncoder
from runtime.data.records import Completion, Content, Conversation, PlainText, TokenRow
from runtime.errors import DataError
from tests.unit.data.conftest import TokenizerMaker
from tests.unit.data.families import Family, tokenizer_of

CHAT = Conversation(({"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}))
SILENT = (
    "{% for m in messages %}{% if m['role'] == 'assistant' %}{% generation %}{% endgeneration %}"
    "{% else %}{{ m['content'] }}{% endif %}{% endfor %}"
)


def test_contents_of_every_kind_come_back_in_their_order(tokenizer: Any) -> None:
    encoder = SampleEncoder(tokenizer, MaskRules())
    contents: list[Content] = [PlainText("t"), CHAT, Completion("p", "c"), TokenRow((1, 2), (1, 1)), CHAT]
    found = encoder.encode(contents)
    assert all(isinstance(each, Encoded) for each in found)
    assert found[1] == found[4]
    assert found[3] == Encoded((1, 2), (0, 1))
    assert encoder.method == (
        "generation markers of the chat template; nothing: texts are learnt whole; prefix of the prompt; "
        "the records' own labels"
    )


def test_nothing_to_encode_has_no_method(tokenizer: Any) -> None:
    assert SampleEncoder(tokenizer, MaskRules()).method == "nothing to mask"


def test_conversations_need_a_chat_template_and_texts_do_not(tmp_path: Path) -> None:
    encoder = SampleEncoder(tokenizer_of(tmp_path, Family("", ("<eos>",), eos="<eos>")), MaskRules())
    assert isinstance(encoder.encode([PlainText("t")])[0], Encoded)
    with pytest.raises(DataError, match=r"has no chat template.*set model\.chat_template"):
        encoder.encode([CHAT])


def test_bug_09_a_mask_of_zeros_ends_the_run_with_the_template_and_a_sample(make_tokenizer: TokenizerMaker) -> None:
    with pytest.raises(DataError) as found:
        SampleEncoder(make_tokenizer(SILENT), MaskRules()).check([CHAT] * 40)
    assert "no token of the first 32 conversations would be learnt (mask by checked prefix difference" in str(
        found.value
    )
    assert 'the chat template begins "{% for m in messages %}' in str(found.value)


def test_bug_09_a_mask_of_ones_ends_the_run_as_well(make_tokenizer: TokenizerMaker) -> None:
    everything = (
        "{% generation %}{% for m in messages %}{{ m['content'] + 'zebra\\u00e9.' }}{% endfor %}{% endgeneration %}"
    )
    with pytest.raises(DataError, match=r"every token of the first 1 conversations .*\n  the first one reads 'qzebra"):
        SampleEncoder(make_tokenizer(everything), MaskRules()).check([CHAT])


def refusal(tokenizer: Any, content: Content, mask: str = "assistant") -> str:
    """What the check says against this content; nothing when it passes."""
    try:
        SampleEncoder(tokenizer, MaskRules(mask)).check([content])
    except DataError as error:
        return str(error)
    return ""


def test_a_good_mask_and_a_mask_of_all_pass_the_check(tokenizer: Any) -> None:
    assert refusal(tokenizer, CHAT) == refusal(tokenizer, CHAT, "all") == refusal(tokenizer, PlainText("t")) == ""


def test_answers_of_weight_zero_alone_are_no_broken_template(tokenizer: Any) -> None:
    assert refusal(tokenizer, Conversation(CHAT.messages, unlearnt=frozenset({1}))) == ""
