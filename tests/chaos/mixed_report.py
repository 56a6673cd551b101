"""What a run through a mixture of faults came to: text for a person, figures for a script."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from console.cli.commands.audit import audited, verdict
from tests.chaos.aftermath import Aftermath, aftermaths, avoidable_rollbacks, uninvited
from tests.chaos.census import Occupied
from tests.chaos.goodput import Goodput, goodput, relative_distance
from tests.chaos.ledger import Audit, audit, history, order_of
from tests.chaos.ordeal import Ordeal
from tests.chaos.recovery import Spread, repeated_steps, rolled_back_steps, spread

LOSS_WITHIN = 0.01


@dataclass(frozen=True)
class MixedReport:
    """Everything that is judged, and everything that is only told."""

    after: list[Aftermath]
    uninvited: tuple[str, ...]
    """Ends of processes that no fault had met, in words."""
    rolled_back: int
    avoidable: int
    """Of these, the steps that a living worker still held."""
    repeated: int
    audit: Audit
    verdict: str
    """What `mlx-distributed audit` says."""
    faulty: Goodput
    quiet: Goodput | None
    restarted: Goodput | None
    restarts: int
    same_hash: bool | None
    occupied: tuple[Mapping[str, Occupied], Mapping[str, Occupied]]
    left_out: Mapping[str, str]

    @property
    def loss_differs_by(self) -> float | None:
        """Relative distance of the final losses."""
        return None if self.quiet is None else relative_distance(self.faulty.final_loss, self.quiet.final_loss)

    @property
    def held(self) -> bool:
        """Nothing rolled back that somebody still held, every sample once, the loss of the quiet run."""
        loss_is_close = self.loss_differs_by is None or self.loss_differs_by <= LOSS_WITHIN
        return self.avoidable == 0 and self.audit.exactly_once and loss_is_close

    def milestones(self) -> dict[str, Spread | None]:
        """Median, p99 and worst of each milestone; the first and the second over faults that ended a process."""
        deadly = [one for one in self.after if one.deaths]
        return {
            "exit seen by the root": spread(one.exit_seconds for one in deadly),
            "next commit after a death": spread(one.next_commit_seconds for one in deadly),
            "next commit after the rest": spread(one.next_commit_seconds for one in self.after if not one.deaths),
            "whole again": spread(one.whole_seconds for one in deadly),
        }

    def figures(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        by_kind = Counter(one.struck.blow.kind.name.lower() for one in self.after)
        before, after = self.occupied
        return {
            "faults": dict(by_kind),
            "left_out": dict(self.left_out),
            "milestones": {name: found and asdict(found) for name, found in self.milestones().items()},
            "deaths": sum(one.deaths for one in self.after),
            "uninvited_deaths": list(self.uninvited),
            "steps_rolled_back": self.rolled_back,
            "steps_rolled_back_while_somebody_held_them": self.avoidable,
            "steps_begun_again": self.repeated,
            "ledger": asdict(self.audit),
            "audit": self.verdict,
            "goodput": {name: run and _rate(run) for name, run in self._runs().items()},
            "goodput_ratio_to_quiet": _ratio(self.faulty, self.quiet),
            "goodput_ratio_to_restarts": _ratio(self.faulty, self.restarted),
            "loss_differs_by": self.loss_differs_by,
            "parameters_equal": self.same_hash,
            "before": {role: asdict(found) for role, found in before.items()},
            "after": {role: asdict(found) for role, found in after.items()},
            "each": [_each(one) for one in self.after],
        }

    def _runs(self) -> dict[str, Goodput | None]:
        return {"with faults": self.faulty, "in peace": self.quiet, "restarting everything": self.restarted}

    def __str__(self) -> str:
        lines = [_line(one) for one in self.after]
        counts = Counter(one.struck.blow.kind for one in self.after)
        lines += ["", *(f"{number:>4} x {kind.value}" for kind, number in counts.most_common()), ""]
        lines += [_row(name, found or "never") for name, found in self.milestones().items()]
        lines += [_row("killed by no fault", "; ".join(self.uninvited) or "nobody")]
        back = f"{self.rolled_back} steps, {self.avoidable} of them while somebody held them"
        lines += [_row("rolled back", f"{back}; {self.repeated} steps under way begun again")]
        lines += [_row("ledger", self.audit), _row("audit", self.verdict)]
        for name, run in self._runs().items():
            if run is not None:
                lines.append(_row(name, f"{run.samples_per_second:.1f} samples/s ({run.steps} steps)"))
        for name, ratio in (("in peace", _ratio(self.faulty, self.quiet)), ("restarts", self._against_restarts())):
            if ratio is not None:
                lines.append(_row(f"goodput against {name}", f"{ratio:.3f}"))
        if self.restarted is not None:
            lines.append(_row("restarts of everything", self.restarts))
        if self.quiet is not None:
            same = {True: "equal bit by bit", False: "NOT equal", None: "not compared"}[self.same_hash]
            losses = f"{self.faulty.final_loss:.6f} against {self.quiet.final_loss:.6f}"
            lines.append(_row("final loss", f"{losses}; parameters {same}"))
        for moment, found in zip(("before", "after"), self.occupied, strict=True):
            lines += [_row(f"{role} {moment}", occupied) for role, occupied in sorted(found.items())]
        return "\n".join(lines)

    def _against_restarts(self) -> float | None:
        return _ratio(self.faulty, self.restarted)


def report_on(
    faulty: Ordeal, quiet: Ordeal | None, restarted: Ordeal | None, left_out: Mapping[str, str]
) -> MixedReport:
    """Judge what was endured."""
    ends = uninvited(faulty.dealt, faulty.journal)
    return MixedReport(
        aftermaths(faulty.dealt, faulty.journal),
        tuple(f"{end.path} #{end.incarnation}: {end.detail}" for end in ends),
        rolled_back_steps(faulty.journal),
        avoidable_rollbacks(faulty.journal),
        repeated_steps(faulty.journal),
        audit(history(faulty.journal), order_of(faulty.folder)),
        verdict(audited(faulty.folder)),
        goodput(faulty.journal, faulty.last_wall_seconds),
        quiet and goodput(quiet.journal),
        restarted and goodput(restarted.journal, restarted.last_wall_seconds),
        restarted.starts - 1 if restarted else 0,
        quiet and quiet.parameter_hash == faulty.parameter_hash,
        (faulty.before or {}, faulty.after or {}),
        left_out,
    )


def _rate(run: Goodput) -> dict[str, float]:
    return {**asdict(run), "samples_per_second": run.samples_per_second}


def _ratio(ours: Goodput, other: Goodput | None) -> float | None:
    if other is None or not other.samples_per_second:
        return None
    return ours.samples_per_second / other.samples_per_second


def _each(one: Aftermath) -> dict[str, Any]:
    struck = one.struck
    return {
        "fault": str(struck.blow),
        "step": struck.step,
        "wall_seconds": struck.wall_seconds,
        "deaths": one.deaths,
        "exit_seconds": one.exit_seconds,
        "next_commit_seconds": one.next_commit_seconds,
        "whole_seconds": one.whole_seconds,
        "note": struck.note,
    }


def _line(one: Aftermath) -> str:
    times = (one.exit_seconds, one.next_commit_seconds, one.whole_seconds)
    cells = "".join(f"{'-' if value is None else f'{value:.3f} s':>12}" for value in times)
    note = f"   {one.struck.note}" if one.struck.note else ""
    return f"step {one.struck.step:>6}  {one.struck.blow!s:<62}{one.deaths} died{cells}{note}"


def _row(name: str, value: object) -> str:
    return f"{name:<28}{value}"
