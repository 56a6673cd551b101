"""Which schedule: each one is given its best cut of the layers, held against the devices' memory, and simulated. Pure.

The fastest one wins; one that is simpler and nearly as fast (within `WORTH`) is taken instead of it, since a simulation
does not know better than that: 1F1B before GPipe, these before ZB-H1, and interleaving, which sends twice the messages,
last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runtime.pipeline.actions import Schedule, ScheduleName
from runtime.pipeline.partition import (
    Device,
    ModelCosts,
    NoPartition,
    Partition,
    best,
    explicit,
    overfull,
    stage_bytes,
    times_of,
)
from runtime.pipeline.schedules import INTERLEAVED_CHUNKS, build, in_flight_limit, why_not
from runtime.pipeline.simulator import Link, Simulation, Workload, simulate

WORTH = 0.02
"""A schedule must be faster by this share than a simpler one."""
SIMPLEST_FIRST: tuple[ScheduleName, ...] = ("1f1b", "gpipe", "zb-h1", "interleaved")


@dataclass(frozen=True)
class Candidate:
    """A schedule that fits, with the cut of the layers that suits it, and what a step then takes."""

    schedule: Schedule
    partition: Partition
    simulation: Simulation
    stage_bytes: tuple[float, ...]
    """By stage, at its peak."""

    @property
    def words(self) -> str:
        """`1f1b 412 ms (bubble 15.8 %)`."""
        step_s = self.simulation.step_s
        time = f"{step_s:.3g} s" if step_s >= 1 else f"{1e3 * step_s:.3g} ms"
        return f"{self.schedule.name} {time} (bubble {100 * self.simulation.bubble:.1f} %)"


@dataclass(frozen=True)
class Choice:
    """The schedule that was chosen, and why."""

    chosen: Candidate
    others: tuple[Candidate, ...]
    refused: tuple[tuple[ScheduleName, str], ...]
    """Schedules that cannot be had here, with the reason."""
    reason: str


def choose(
    costs: ModelCosts,
    devices: Sequence[Device],
    micro_batches: int,
    *,
    schedule: ScheduleName | None = None,
    split: Sequence[int] = (),
    links: Sequence[Link] = (),
) -> Choice:
    """The schedule for a model on `devices`, one stage each: `schedule` if it is named, else the best of all four.

    `split` is the user's cut of the layers (layers per stage); without it, every schedule gets its own best one.
    Raises NoPartition with the reason of each schedule when none can be had.
    """
    found: list[Candidate] = []
    refused: list[tuple[ScheduleName, str]] = []
    for name in SIMPLEST_FIRST if schedule is None else (schedule,):
        try:
            found.append(_candidate(name, costs, devices, micro_batches, split, links))
        except NoPartition as error:
            refused.append((name, str(error)))
    if not found:
        raise NoPartition("; ".join(f"{name}: {reason}" for name, reason in refused))
    fastest_s = min(candidate.simulation.step_s for candidate in found)
    chosen = next(each for each in found if each.simulation.step_s <= (1 + WORTH) * fastest_s)
    others = tuple(each for each in found if each is not chosen)
    return Choice(chosen, others, tuple(refused), _reason(schedule, chosen, others, refused))


def _candidate(
    name: ScheduleName,
    costs: ModelCosts,
    devices: Sequence[Device],
    micro_batches: int,
    split: Sequence[int],
    links: Sequence[Link],
) -> Candidate:
    stages, chunks = len(devices), INTERLEAVED_CHUNKS if name == "interleaved" else 1
    if reason := why_not(name, stages, micro_batches, chunks):
        raise NoPartition(reason)
    in_flight = [in_flight_limit(name, stage, stages, micro_batches, chunks) for stage in range(stages)]
    if split and chunks > 1:
        raise NoPartition("a split says the layers of whole stages, and this schedule cuts each of them in two")
    partition = explicit(split, costs, stages) if split else best(costs, devices, in_flight, chunks)
    if split and (reason := overfull(partition, costs, devices, in_flight) or ""):
        raise NoPartition(reason)
    built = build(name, stages, micro_batches, chunks)
    work = Workload(times_of(partition, costs, devices), costs.message_bytes, tuple(links))
    return Candidate(built, partition, simulate(built, work), stage_bytes(partition, costs, in_flight))


def _reason(
    asked: ScheduleName | None,
    chosen: Candidate,
    others: Sequence[Candidate],
    refused: Sequence[tuple[ScheduleName, str]],
) -> str:
    if asked is not None:
        return f"{chosen.words}: named by the configuration"
    faster = [each for each in others if each.simulation.step_s < chosen.simulation.step_s]
    verdict = f"the simplest within {100 * WORTH:g} % of the fastest" if faster else "the fastest by simulation"
    against = [each.words for each in others] + [f"{name} cannot be had ({reason})" for name, reason in refused]
    return f"{chosen.words}: {verdict}" + (f"; {', '.join(against)}" if against else "")
