"""From pairs of answer and reference to the scores of a whole set, over any number of workers."""

from typing import get_args

import pytest

from runtime.config.checkpoint import Metric
from runtime.errors import DataError
from runtime.metrics.scoring import METRICS, Reference, count, scores

NO_COMMA = (("punctuation:no_comma", {}),)
PAIRS = [(f"the answer is {n}", Reference(f"the answer is {n % 3}", NO_COMMA)) for n in range(7)]


def test_every_metric_of_the_configuration_is_there() -> None:
    assert set(METRICS) == set(get_args(Metric))


@pytest.mark.parametrize("workers", [1, 2, 3, 8])
def test_the_scores_do_not_depend_on_the_number_of_workers(workers: int) -> None:
    alone = scores([count(METRICS, PAIRS)])
    shared = scores([count(METRICS, PAIRS[rank::workers]) for rank in range(workers)])
    assert shared == alone
    assert alone["exact_match"] == 3 / 7
    assert alone["rouge1"] == pytest.approx((3 + 4 * 0.75) / 7)
    assert alone["instruction_following"] == alone["instruction_following/prompt_loose"] == 1.0


def test_what_nobody_counted_has_no_score() -> None:
    assert scores([count(["bleu"], []), count(["exact_match"], PAIRS[:1]), {"of tomorrow": (1.0,)}]) == {
        "exact_match": 1.0
    }


def test_arguments_of_another_instruction_are_refused() -> None:
    wrong = Reference("", (("punctuation:no_comma", {"num_words": 3}),))
    with pytest.raises(DataError, match="kwargs"):
        count(["instruction_following"], [("a", wrong)])
