"""Texts, completions and token rows, with a word-level tokenizer whose numbers are the peers'."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runtime.data.encoded import Encoded, MaskRules, Unmaskable
from runtime.data.plain import PlainEncoder
from runtime.data.records import Completion, PlainText, TokenRow
from runtime.models.generate import text_tokens
from runtime.models.tokenizer import rendered_ids
from tests.unit.data.families import Family, tokenizer_of, word_tokenizer

WORDS = {"?": 0, "1": 1, "2": 2, "3": 3, "4": 4, "</s>": 99, "<s>": 98}
PLAIN = Family("", ("<s>", "</s>"), eos="</s>")
WITH_BOS = Family("", ("<s>", "</s>"), eos="</s>", bos="<s>", bos_by_processor=True)


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return word_tokenizer(tmp_path_factory.mktemp("words"), WORDS, PLAIN)


@pytest.fixture(scope="module")
def with_bos(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return word_tokenizer(tmp_path_factory.mktemp("bos"), WORDS, WITH_BOS)


def labels(found: Encoded | Unmaskable) -> list[int]:
    assert isinstance(found, Encoded), found
    return [token if bit else -100 for token, bit in zip(found.ids, found.mask, strict=True)]


def test_case_26_a_completion_is_learnt_with_its_end_and_the_prompt_is_not(words: Any) -> None:
    found = PlainEncoder(words, MaskRules()).completion(Completion("1 2", " 3 4"))
    assert isinstance(found, Encoded)
    assert found.ids == (1, 2, 3, 4, 99)
    assert labels(found) == [-100, -100, 3, 4, 99]


def test_the_mask_all_learns_the_prompt_as_well(words: Any) -> None:
    assert labels(PlainEncoder(words, MaskRules("all")).completion(Completion("1 2", " 3"))) == [-100, 2, 3, 99]


def test_the_end_is_read_but_not_learnt_on_demand(words: Any) -> None:
    encoder = PlainEncoder(words, MaskRules(train_on_stop=False))
    found = encoder.completion(Completion("1", " 3"))
    assert isinstance(found, Encoded)
    assert (found.ids, labels(found)) == ((1, 3, 99), [-100, 3, -100])


def test_an_end_that_the_text_writes_itself_is_not_doubled(words: Any) -> None:
    assert PlainEncoder(words, MaskRules()).text(PlainText("1 2 </s>")).ids == (1, 2, 99)


def test_case_27_a_text_keeps_the_tokenizers_beginning_once(with_bos: Any) -> None:
    encoder = PlainEncoder(with_bos, MaskRules())
    assert encoder.text(PlainText("1 2")).ids == encoder.text(PlainText("<s> 1 2")).ids == (98, 1, 2, 99)
    assert labels(encoder.text(PlainText("1 2"))) == [-100, 1, 2, 99]


def test_bug_04_a_completions_prompt_begins_once_and_as_it_is_asked(with_bos: Any) -> None:
    found = PlainEncoder(with_bos, MaskRules()).completion(Completion("1 2", " 3"))
    assert isinstance(found, Encoded)
    assert found.ids == (98, 1, 2, 3, 99)
    assert text_tokens(with_bos, "1 2") == [98, 1, 2] == list(found.ids[:3])


def test_a_token_over_the_border_is_cut_there_where_the_text_stays_the_same(tmp_path: Path) -> None:
    """`1` and `2` are two words, `12` a third: only apart does the model continue what it is asked with."""
    joined = word_tokenizer(tmp_path, {**WORDS, "12": 12}, PLAIN)
    refused = PlainEncoder(joined, MaskRules()).completion(Completion("1", "2"))
    assert isinstance(refused, Unmaskable)
    assert "a token reaches from the prompt into the completion" in str(refused)
    merged = tokenizer_of(tmp_path / "bytes", PLAIN)
    merged._tokenizer.add_tokens(["xy"])
    found = PlainEncoder(merged, MaskRules()).completion(Completion("ax", "yb"))
    assert isinstance(found, Encoded)
    assert merged.decode(list(found.ids)) == "axyb</s>"
    assert [merged.decode([token]) for token in found.ids] == ["a", "x", "y", "b", "</s>"]
    assert labels(found)[:2] == [-100, -100]


def test_case_16_a_token_row_is_taken_as_it_is(words: Any) -> None:
    encoder = PlainEncoder(words, MaskRules())
    assert encoder.row(TokenRow((1, 2, 3), (0, 1, 0))) == Encoded((1, 2, 3), (0, 1, 0))
    assert encoder.row(TokenRow((1, 2), (1, 1))) == Encoded((1, 2), (0, 1))


def test_a_token_that_the_tokenizer_does_not_have_is_refused(words: Any) -> None:
    for foreign in (100, -1):
        found = PlainEncoder(words, MaskRules()).row(TokenRow((1, foreign), (1, 1)))
        assert str(found) == f"token {foreign} is not in the tokenizer's vocabulary of 100"


@pytest.mark.parametrize(
    "rendered",
    [
        list(range(12)),
        {"input_ids": list(range(12)), "attention_mask": [1] * 12},
        {"input_ids": [list(range(12))], "attention_mask": [[1] * 12]},
    ],
)
def test_bug_08_a_rendered_prompt_has_twelve_tokens_and_not_two(rendered: Any) -> None:
    assert rendered_ids(rendered) == list(range(12))
