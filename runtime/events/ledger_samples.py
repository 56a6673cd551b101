"""Whether every sample was taken exactly once in each epoch, from the ids that each step named. Pure.

The stream of samples is epoch after epoch, and the data order may move a sample within a window of some steps (to batch
samples of like length). So what holds at the end of a window, at position B of the stream: with n samples in an epoch,
each was taken B // n times, or once more if the window ends within an epoch. A sample taken twice or passed over breaks
that at the end of its window, or at the end of its epoch.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

_NAMED = 5
"""How many samples a violation names."""


@dataclass(frozen=True)
class ReadingOrder:
    """How far the data order may move a sample."""

    window_samples: int = 0
    """Windows are cut at multiples of this; 0: a sample stays in its step."""
    epochs: float = 0.0
    """Where the run's stream of samples ends, and its last window with it; 0: never."""
    weighted: bool = False
    """Sources are mixed by weight: how often a sample is taken follows from its source's share, not from the epoch."""


class Taken(NamedTuple):
    """What a step consumed."""

    step: int
    cursor: int
    samples: int
    ids: Sequence[int]


@dataclass
class Found:
    """What the samples of a history say."""

    violations: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class _Tally:
    """How often each sample was taken, with the smallest and the largest number at hand."""

    def __init__(self, samples: int) -> None:
        self.times = array("i", bytes(4 * samples))
        self._with = [samples, 0]
        """_with[k]: samples that were taken k times."""
        self.least = self.most = 0

    def take(self, ids: Sequence[int]) -> None:
        """Count each of `ids` once more. The hot loop of an audit: plain lists, nothing called."""
        times, have, most = self.times, self._with, self.most
        have.extend([0] * (most + len(ids) + 1 - len(have)))
        for sample in ids:
            old = times[sample]
            times[sample] = old + 1
            have[old] -= 1
            have[old + 1] += 1
            if old >= most:
                most = old + 1
        self.most = most
        while not have[self.least]:
            self.least += 1

    def bound(self, low: int, high: int) -> None:
        """Count each sample as taken `low` to `high` times."""
        for sample, times in enumerate(self.times):
            self.times[sample] = min(max(times, low), high)
        spread = Counter(self.times)
        self.least, self.most = min(spread), max(spread)
        self._with = [spread[times] for times in range(self.most + 2)]


def check_samples(history: Sequence[Taken], samples: int, order: ReadingOrder) -> Found:
    """Compare the history (not empty) with epochs of `samples` samples, ids 0 .. samples - 1.

    Each violation is said once: afterwards its samples count as if nothing had been wrong with them. After a hole in
    the history no sample is missed any more, since those of the hole are unknown.
    """
    if order.weighted:
        return _check_weighted(history, samples)
    found, tally = Found(), _Tally(samples)
    window = order.window_samples
    end = math.ceil(order.epochs * samples) if order.epochs else math.inf
    begin, even = history[0].cursor, history[0].step - 1
    last, due, whole = history[-1], begin, True
    for taken in history:
        whole, due = whole and taken.cursor == due, taken.cursor + taken.samples
        ids = taken.ids
        if foreign := _foreign(taken, samples):
            found.violations.append(foreign)
            ids = [each for each in ids if 0 <= each < samples]
        tally.take(ids)
        at = taken.cursor + taken.samples
        low, high = _bounds(begin, at, at, samples)
        if whole and low <= tally.least and tally.most <= high:
            even = taken.step
            continue
        floor, ceiling = at, at
        if window and at % window and at < end:
            floor, ceiling = at - at % window, int(min(at - at % window + window, end))
        if floor == ceiling or taken is last:
            low, high = _bounds(
                _ceil(begin, window), floor, ceiling, samples, begin - (begin % window if window else 0)
            )
            found.violations += _odd_ones(tally, low if whole else 0, high, taken, history)
    if even < last.step and whole and not found.violations:
        found.notes.append(
            f"steps {even + 1} to {last.step} end within a window of the data order: each sample was taken "
            f"{tally.least} to {tally.most} times by then, which only the window's end evens out"
        )
    return found


def _check_weighted(history: Sequence[Taken], samples: int) -> Found:
    """Sources mixed by weight: every sample that a step names exists; how often each comes is not for a ledger."""
    violations = [foreign for taken in history if (foreign := _foreign(taken, samples))]
    return Found(violations, ["sources are mixed by weight: how often each sample is taken was not compared"])


def _foreign(taken: Taken, samples: int) -> str:
    """The sentence about samples that the data set does not have; empty when there are none."""
    if not taken.ids or (min(taken.ids) >= 0 and max(taken.ids) < samples):
        return ""
    foreign = [each for each in taken.ids if not 0 <= each < samples]
    return f"step {taken.step} names {_some(foreign)}, but an epoch has samples 0 to {samples - 1}"


def _bounds(begin: int, floor: int, ceiling: int, samples: int, earliest: int | None = None) -> tuple[int, int]:
    """How often a sample may have been taken by a history from `begin` (or, at the earliest, `earliest`) on that
    contains all positions up to `floor`, and none from `ceiling` on."""
    since = begin if earliest is None else earliest
    return max(0, floor // samples - -(-begin // samples)), -(-ceiling // samples) - since // samples


def _ceil(position: int, window: int) -> int:
    return -(-position // window) * window if window else position


def _odd_ones(tally: _Tally, low: int, high: int, taken: Taken, history: Sequence[Taken]) -> list[str]:
    """One sentence for the samples taken too often and one for those taken too seldom; both are put right."""
    found = []
    by_then = f"by the end of step {taken.step}"
    if tally.most > high:
        doubled = [sample for sample, times in enumerate(tally.times) if times > high]
        steps = [one.step for one in history if one.step <= taken.step and doubled[0] in one.ids]
        where = f"{doubled[0]} in {'step' if len(steps) == 1 else 'steps'} {', '.join(map(str, steps))}"
        found.append(f"{_some(doubled)} taken more often than {high} times {by_then} ({where})")
    if tally.least < low:
        missed = [sample for sample, times in enumerate(tally.times) if times < low]
        found.append(f"{_some(missed)} taken less often than {low} times {by_then}")
    if found:
        tally.bound(low, high)
    return found


def _some(samples: Sequence[int]) -> str:
    named = ", ".join(map(str, samples[:_NAMED]))
    more = f" and {len(samples) - _NAMED} more" if len(samples) > _NAMED else ""
    return f"{'sample' if len(samples) == 1 else 'samples'} {named}{more}"
