"""ROUGE-1, ROUGE-2 and ROUGE-L (Lin 2004): n-grams, or the longest common subsequence, shared with the reference.

Tokens are those of Google's rouge-score without stemming: runs of a-z and 0-9 in the lower-cased text; so a text in
another script has none and scores 0. The score of a set is the mean F-measure of its answers.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

from runtime.metrics.sums import Sums, on_grid

Kind: TypeAlias = Literal["rouge1", "rouge2", "rougeL"]
_TOKEN = re.compile(r"[a-z0-9]+")


class Overlap(NamedTuple):
    """What an answer shares with its reference, each 0 .. 1."""

    precision: float
    """Of the answer's units."""
    recall: float
    """Of the reference's units."""

    @property
    def f_measure(self) -> float:
        """Harmonic mean; 0 where nothing is shared."""
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both > 0 else 0.0


def statistics(answer: str, reference: str, kind: Kind) -> Sums:
    """(F-measure, answers)."""
    return on_grid(overlap(answer, reference, kind).f_measure), 1.0


def score(sums: Sums) -> float:
    """Mean F-measure, 0 .. 1."""
    f_measures, answers = sums
    return f_measures / answers


def overlap(answer: str, reference: str, kind: Kind) -> Overlap:
    """Precision and recall of one answer; both 0 where either text has no unit of the kind."""
    said, expected = tokens_of(answer), tokens_of(reference)
    if kind == "rougeL":
        return _overlap(common_subsequence(said, expected), len(said), len(expected))
    order = 1 if kind == "rouge1" else 2
    said_units, expected_units = _units(said, order), _units(expected, order)
    shared = (said_units & expected_units).total()
    return _overlap(shared, said_units.total(), expected_units.total())


def tokens_of(text: str) -> list[str]:
    """Runs of a-z and 0-9, lower-cased."""
    return _TOKEN.findall(text.lower())


def common_subsequence(one: Sequence[str], other: Sequence[str]) -> int:
    """Length of the longest common subsequence, by bit-parallel dynamic programming (Hyyrö 2004).

    A column of the table is one integer: a 0 bit where the length grows by one. O(n) operations on m-bit integers.
    """
    places: dict[str, int] = {}
    for at, token in enumerate(one):
        places[token] = places.get(token, 0) | 1 << at
    everything = (1 << len(one)) - 1
    column = everything
    for token in other:
        matches = column & places.get(token, 0)
        column = ((column + matches) | (column - matches)) & everything
    return len(one) - column.bit_count()


def _units(tokens: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(tokens[at : at + order]) for at in range(len(tokens) - order + 1))


def _overlap(shared: int, said: int, expected: int) -> Overlap:
    return Overlap(shared / said if said else 0.0, shared / expected if expected else 0.0)
