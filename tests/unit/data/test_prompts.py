"""Held-out questions as a model is asked them."""

from __future__ import annotations

from typing import Any

from runtime.data.prompts import prompt_of
from runtime.data.records import Completion, Conversation, PlainText, TokenRow

TURNS = tuple(
    {"role": role, "content": text}
    for role, text in [("user", "q1"), ("assistant", "a1"), ("user", "q2"), ("assistant", "a2")]
)


def test_a_conversation_asks_for_its_last_answer(tokenizer: Any) -> None:
    prompt = prompt_of(Conversation(TURNS), "be brief")
    assert prompt is not None
    assert (prompt.question, prompt.answer, len(prompt.messages)) == ("q2", "a2", 4)
    text = tokenizer.decode(prompt.tokens(tokenizer))
    assert text.startswith("<|im_start|>system\nbe brief<|im_end|>")
    assert text.endswith("q2<|im_end|>\n<|im_start|>assistant\n")


def test_a_completion_asks_with_its_prompt_and_no_template(tokenizer: Any) -> None:
    prompt = prompt_of(Completion("one two", " three"))
    assert prompt is not None
    assert (prompt.question, prompt.answer, prompt.messages) == ("one two", " three", ())
    assert tokenizer.decode(prompt.tokens(tokenizer)) == "one two"


def test_texts_and_token_rows_ask_nothing() -> None:
    assert prompt_of(PlainText("t")) is None
    assert prompt_of(TokenRow((1,), (1,))) is None


def test_equal_questions_have_equal_openings() -> None:
    assert Conversation(TURNS).opening == Conversation(TURNS[:2]).with_system("").opening == "q1"
    assert (Completion("p", "c").opening, PlainText("t").opening) == ("p", "t")
    assert TokenRow((1, 2, 3, 4), (0, 0, 1, 1)).opening == "1 2"
    assert TokenRow((1, 2, 3), (1, 1, 1)).opening == TokenRow((1, 2, 3), (0, 1, 1)).opening == "1 2 3"
