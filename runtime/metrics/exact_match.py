"""Exact match: the share of answers that are the expected text, white space around them aside."""

from __future__ import annotations

from runtime.metrics.sums import Sums


def statistics(answer: str, reference: str) -> Sums:
    """(right, answers)."""
    return float(answer.strip() == reference.strip()), 1.0


def score(sums: Sums) -> float:
    """0 .. 1."""
    right, answers = sums
    return right / answers
