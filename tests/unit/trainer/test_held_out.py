"""What answers are compared with: the expected text, and what their prompts asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from runtime.cluster.messages import Answer
from runtime.config.schema import Config
from runtime.data.dataset import DataReport, Datasets, HeldOutPrompt
from runtime.data.tokens import TokenDataset
from runtime.errors import DataError
from runtime.metrics.scoring import scores
from runtime.trainer.evaluate import HeldOut

NONE = TokenDataset.of([])
REPORT = DataReport((), "", "", 0, 0, 0, 0, 0, 0, 0, 0, 0)
CONFIG = Config.model_validate({"eval": {"generate": {"metrics": ["exact_match", "instruction_following"]}}})


def held_out(*asked: tuple[tuple[str, Mapping[str, Any]], ...]) -> HeldOut:
    prompts = tuple(HeldOutPrompt(({"role": "user", "content": "say it"},), "it", instructions=each) for each in asked)
    return HeldOut(CONFIG, Datasets(NONE, NONE, prompts, (), REPORT), tokenizer=None)


def test_an_answer_is_judged_by_what_its_own_prompt_asked_for() -> None:
    judge = held_out((("punctuation:no_comma", {}),), (), (("change_case:english_capital", {}),))
    answers = [Answer(0, "say it", "it", "it"), Answer(2, "say it", "it", "it")]
    found = scores([judge.count(answers[:1]), judge.count(answers[1:])])
    assert (found["exact_match"], found["instruction_following"]) == (1.0, 0.5)


def test_instruction_following_without_instructions_is_refused_before_anything_is_trained() -> None:
    with pytest.raises(DataError, match="instruction_id_list"):
        held_out((), ())
    held_out()  # nothing is held out, so nothing is asked
