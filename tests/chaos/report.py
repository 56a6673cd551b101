"""What a chaos run found, as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.chaos.census import Occupied
from tests.chaos.ledger import Audit
from tests.chaos.recovery import Recovery, spread

COLUMNS = ("fault", "phase", "exit seen", "counted lost", "next commit", "whole again")
IN_ORDER = ("feed", "compute", "exchange", "vote", "apply")
"""Phases of a step; what else a worker may be doing (`idle`, `evaluate`) comes behind them."""


@dataclass(frozen=True)
class Report:
    """Everything that is judged, and everything that is only told."""

    recoveries: Sequence[Recovery]
    rolled_back: int
    repeated: int
    audit: Audit
    same_hash: bool | None
    """Whether the parameters equal the undisturbed run's, bit by bit; None where nobody compared."""
    before: dict[str, Occupied]
    after: dict[str, Occupied]
    wall_seconds: float

    @property
    def held(self) -> bool:
        """No step rolled back, every sample once, the same bits."""
        return self.rolled_back == 0 and self.audit.exactly_once and self.same_hash is not False

    def __str__(self) -> str:
        lines = [_row(*COLUMNS), *(_line(recovery) for recovery in self.recoveries), ""]
        for name, values in (
            ("exit seen by the root", [one.exit_seconds for one in self.recoveries]),
            ("counted as lost", [one.detected_seconds for one in self.recoveries]),
            ("survivors' next commit", [one.next_commit_seconds for one in self.recoveries]),
            ("whole again", [one.whole_seconds for one in self.recoveries]),
        ):
            lines.append(f"{name:<24}{spread(values) or 'never'}")
        lines += by_phase(self.recoveries)
        lines += [
            f"{'rolled back':<24}{self.rolled_back} steps; {self.repeated} steps under way begun again",
            f"{'ledger':<24}{self.audit}",
            f"{'parameters':<24}{_HASH[self.same_hash]}",
        ]
        for role in sorted({*self.before, *self.after}):
            before, after = self.before.get(role, Occupied()), self.after.get(role, Occupied())
            lines += [f"{role + ' before':<24}{before}", f"{role + ' after':<24}{after}"]
        lines.append(f"{'wall time':<24}{self.wall_seconds:.1f} s")
        return "\n".join(lines)


_HASH = {True: "equal to the undisturbed run's", False: "NOT those of the undisturbed run", None: "not compared"}


def by_phase(recoveries: Sequence[Recovery]) -> list[str]:
    """For each phase that a worker died in: the exit seen, the survivors' next commit, the replacement's first one."""
    lines = []
    found = {one.phase for one in recoveries if one.phase}
    for phase in [*(known for known in IN_ORDER if known in found), *sorted(found - set(IN_ORDER))]:
        there = [one for one in recoveries if one.phase == phase]
        for name, values in (
            ("exit seen", [one.exit_seconds for one in there]),
            ("next commit", [one.next_commit_seconds for one in there]),
            ("whole again", [one.whole_seconds for one in there]),
        ):
            lines.append(f"{'in ' + phase + ': ' + name:<28}{spread(values) or 'never'}")
    return lines


def _line(one: Recovery) -> str:
    milestones = (one.exit_seconds, one.detected_seconds, one.next_commit_seconds, one.whole_seconds)
    return _row(
        str(one.injected.fault), one.phase, *("-" if value is None else f"{value:.3f} s" for value in milestones)
    )


def _row(first: str, *rest: str) -> str:
    return f"{first:<34}" + "".join(f"{cell:>15}" for cell in rest)
