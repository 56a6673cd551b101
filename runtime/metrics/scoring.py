"""The metrics of answers by the names of `eval.generate.metrics`: sums of one answer, and scores of all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from runtime.errors import DataError
from runtime.metrics import bleu, exact_match, instruction_following, rouge
from runtime.metrics.instruction_following import Instructions
from runtime.metrics.sums import Sums, merge

Counted: TypeAlias = Mapping[str, Sums]
"""By metric."""
INSTRUCTION_FOLLOWING = "instruction_following"


@dataclass(frozen=True)
class Reference:
    """What an answer is compared with."""

    text: str
    """The expected answer."""
    instructions: Instructions = ()
    """What the prompt asks for that a program can check."""


@dataclass(frozen=True)
class _Metric:
    count: Callable[[str, Reference], Sums]
    score: Callable[[Sums], float | Mapping[str, float]]


def _of_text(statistics: Callable[[str, str], Sums]) -> Callable[[str, Reference], Sums]:
    return lambda answer, reference: statistics(answer, reference.text)


METRICS: Mapping[str, _Metric] = {
    "exact_match": _Metric(_of_text(exact_match.statistics), exact_match.score),
    "bleu": _Metric(_of_text(bleu.statistics), bleu.score),
    "rouge1": _Metric(_of_text(partial(rouge.statistics, kind="rouge1")), rouge.score),
    "rouge2": _Metric(_of_text(partial(rouge.statistics, kind="rouge2")), rouge.score),
    "rougeL": _Metric(_of_text(partial(rouge.statistics, kind="rougeL")), rouge.score),
    INSTRUCTION_FOLLOWING: _Metric(
        lambda answer, reference: instruction_following.statistics(answer, reference.instructions),
        instruction_following.score,
    ),
}


def count(names: Iterable[str], answers: Iterable[tuple[str, Reference]]) -> dict[str, Sums]:
    """The sums of these metrics over (answer, reference) pairs; no pairs, no sums.

    Raises DataError for an instruction whose arguments are not its own.
    """
    pairs = list(answers)
    try:
        found = {name: merge(METRICS[name].count(*pair) for pair in pairs) for name in names}
    except (TypeError, ValueError) as error:
        raise DataError(f"kwargs of an instruction in the held-out data: {error}; see IFEval's own files") from error
    return {name: sums for name, sums in found.items() if sums}


def scores(shares: Iterable[Counted]) -> dict[str, float]:
    """Metric -> its score over all shares; a metric of several numbers also has `metric/part`.

    Nothing for a metric that no share has counted, or that this version does not know.
    """
    merged: dict[str, list[Sums]] = {}
    for share in shares:
        for name, sums in share.items():
            merged.setdefault(name, []).append(sums)
    found: dict[str, float] = {}
    for name, metric in METRICS.items():
        if name in merged:
            score = metric.score(merge(merged[name]))
            parts = score if isinstance(score, Mapping) else {"": score}
            found |= {f"{name}/{part}".removesuffix("/"): value for part, value in parts.items()}
    return found
