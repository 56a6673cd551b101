"""Corpus BLEU (Papineni et al. 2002) as sacrebleu defines it: 13a tokens, 4-grams, exponential smoothing.

BLEU of a corpus is no mean over sentences: matched and possible n-grams and the lengths are summed over all of it
before anything is divided. So workers send the sums, and the score is sacrebleu's own of the whole set.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from runtime.metrics.sums import Sums

ORDERS = 4


def statistics(answer: str, *references: str) -> Sums:
    """(matched n-grams of orders 1..4, n-grams of orders 1..4, tokens of the answer, tokens of the closest reference).

    Raises ValueError without a reference.
    """
    if not references:
        raise ValueError("BLEU compares with at least one reference")
    found = _bleu().sentence_score(answer, list(references))
    return tuple(map(float, (*found.counts, *found.totals, found.sys_len, found.ref_len)))


def score(sums: Sums) -> float:
    """0 .. 100."""
    whole = [int(number) for number in sums]
    counts, totals, (answered, expected) = whole[:ORDERS], whole[ORDERS : 2 * ORDERS], whole[2 * ORDERS :]
    return float(_bleu().compute_bleu(counts, totals, answered, expected, smooth_method="exp").score)


@cache
def _bleu() -> Any:
    """sacrebleu takes a third of a second to import: only a run that asks for it pays."""
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(effective_order=True)  # of no consequence for the counts; without it each sentence would be warned of
