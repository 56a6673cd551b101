"""Exact match, BLEU and ROUGE against what their authors' programs say of the same texts."""

import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu import corpus_bleu

from runtime.metrics import bleu, exact_match, rouge
from runtime.metrics.sums import merge

README_REFERENCES = [  # of sacrebleu's README, which gives 48.53 for it
    ["The dog bit the man.", "The dog had bit the man."],
    ["It was not unexpected.", "No one was surprised."],
    ["The man bit him first.", "The man had bitten the dog."],
]
README_ANSWERS = ["The dog bit the man.", "It wasn't surprising.", "The man had just bitten him."]
FIXTURE = json.loads((Path(__file__).parents[2] / "fixtures" / "rouge.json").read_text())
WORDS = ("the", "cat", "sat", "on", "a", "mat", ",", ".", "it's", "café", "9", "lives")
texts = st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join)
some_examples = settings(max_examples=30, deadline=None)


def test_an_exact_match_ignores_the_white_space_around_it_and_nothing_else() -> None:
    sums = [exact_match.statistics(said, "forty two") for said in (" forty two\n", "forty  two", "Forty two", "")]
    assert exact_match.score(merge(sums)) == 0.25


def test_bleu_of_the_readme_s_corpus_is_the_same_however_it_is_shared_out() -> None:
    sums = [bleu.statistics(*pair) for pair in zip(README_ANSWERS, *zip(*README_REFERENCES, strict=True), strict=True)]
    whole = merge(sums)
    assert whole == (14, 7, 5, 3, 17, 14, 11, 8, 17, 18)
    assert merge([sums[0], merge(sums[1:])]) == whole
    assert bleu.score(whole) == pytest.approx(48.530827, abs=1e-6)
    assert bleu.score(sums[0]) == pytest.approx(100)


@some_examples
@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=6), st.integers(1, 4))
def test_bleu_of_any_corpus_is_sacrebleu_s(pairs: list[tuple[str, str]], workers: int) -> None:
    shares = [merge(bleu.statistics(*pair) for pair in pairs[rank::workers]) for rank in range(workers)]
    expected = corpus_bleu([answer for answer, _ in pairs], [[reference for _, reference in pairs]]).score
    assert bleu.score(merge(shares)) == expected


def test_an_empty_answer_has_no_bleu_and_a_missing_reference_is_refused() -> None:
    assert bleu.score(bleu.statistics("", "a text")) == 0.0
    with pytest.raises(ValueError, match="at least one reference"):
        bleu.statistics("a text")


@pytest.mark.parametrize(
    ("kind", "answer", "reference", "precision", "recall", "f_measure"),
    [  # rouge_scorer_test.py of google-research
        ("rouge1", "testing", "testing one two", 1, 1 / 3, 1 / 2),
        ("rouge2", "testing one", "testing one two", 1, 1 / 2, 2 / 3),
        ("rougeL", "testing one", "testing one two", 1, 2 / 3, 4 / 5),
        ("rougeL", "testing two", "testing one two", 1, 2 / 3, 4 / 5),
        ("rouge1", "", "testing one two", 0, 0, 0),
        ("rougeL", "testing one two", "", 0, 0, 0),
        ("rouge1", "/", "testing one two", 0, 0, 0),
        ("rouge2", "testing", "testing", 0, 0, 0),
    ],
)
def test_rouge_of_short_texts(
    kind: rouge.Kind, answer: str, reference: str, precision: float, recall: float, f_measure: float
) -> None:
    found = rouge.overlap(answer, reference, kind)
    assert (found.precision, found.recall, found.f_measure) == pytest.approx((precision, recall, f_measure))


@pytest.mark.parametrize(
    ("row", "kind", "expected"),
    [  # what ROUGE-1.5.5 says
        (0, "rouge1", (0.68750, 0.40741, 0.51163)),
        (0, "rouge2", (0.53333, 0.30769, 0.39024)),
        (1, "rouge1", (0.65385, 0.40476, 0.50000)),
        (1, "rouge2", (0.48000, 0.29268, 0.36364)),
    ],
)
def test_rouge_of_google_s_test_data(row: int, kind: rouge.Kind, expected: tuple[float, float, float]) -> None:
    found = rouge.overlap(FIXTURE["prediction"][row], FIXTURE["target"][row], kind)
    assert (found.precision, found.recall, found.f_measure) == pytest.approx(expected, abs=5e-6)


@some_examples
@given(texts, texts)
def test_rouge_is_rouge_score_s(answer: str, reference: str) -> None:
    expected = RougeScorer(["rouge1", "rouge2", "rougeL"]).score(reference, answer)
    kinds: tuple[rouge.Kind, ...] = ("rouge1", "rouge2", "rougeL")
    for kind in kinds:
        found = rouge.overlap(answer, reference, kind)
        assert (found.precision, found.recall, found.f_measure) == pytest.approx(tuple(expected[kind]))
        assert rouge.score(rouge.statistics(answer, reference, kind)) == pytest.approx(expected[kind].fmeasure)


def test_the_mean_over_two_workers_is_the_mean_over_all_answers() -> None:
    pairs = [("a b", "a b"), ("a", "a b"), ("c", "a b")]
    sums = [rouge.statistics(*pair, "rouge1") for pair in pairs]
    assert rouge.score(merge([sums[0], merge(sums[1:])])) == pytest.approx((1 + 2 / 3 + 0) / 3)


def test_a_long_common_subsequence_is_that_of_the_table() -> None:
    draw = random.Random(3)
    one, other = ([draw.choice("abcd") for _ in range(length)] for length in (90, 70))
    row = [0] * (len(other) + 1)
    for token in one:
        row = _next_row(row, token, other)
    assert rouge.common_subsequence(one, other) == row[-1] > 30


def _next_row(above: list[int], token: str, other: list[str]) -> list[int]:
    row = [0]
    for at, each in enumerate(other):
        row.append(above[at] + 1 if each == token else max(row[at], above[at + 1]))
    return row
