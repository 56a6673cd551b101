"""The proof that a schedule can be run and gives the right gradients: every fault in words, or none. Pure.

- every micro-batch goes forward once and backward once through every chunk, in that order (F before B; F, I, W)
- a Receive stands before what reads its message, a Send after what makes it; each crossing of a boundary happens once
- the messages of a channel are received in the order in which they are sent
- with channels of the schedule's capacity nobody waits for ever
- the weights' gradients of a chunk are summed in ascending order of the micro-batches
- no stage keeps more activations than the schedule's formula allows (`schedules.in_flight_limit`)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from runtime.pipeline.actions import (
    Backward,
    BackwardInput,
    BackwardWeight,
    Compute,
    Forward,
    Receive,
    Schedule,
    Send,
    peak_in_flight,
)
from runtime.pipeline.schedules import in_flight_limit
from runtime.pipeline.simulator import PieceTimes, Stuck, Workload, simulate
from runtime.pipeline.transfers import makes, reads


def faults(schedule: Schedule) -> list[str]:
    """Everything that is wrong with `schedule`; empty for one that may run."""
    if len(schedule.actions) != schedule.stages:
        return [f"{len(schedule.actions)} lists of actions for {schedule.stages} stages"]
    found = [
        f"stage {stage}: {fault}"
        for stage in range(schedule.stages)
        for check in (_passes, _order_of_sums, _messages, _memory)
        for fault in check(schedule, stage)
    ]
    if not found:
        found.extend(_ends(schedule))
    return found


def _passes(schedule: Schedule, stage: int) -> Iterator[str]:
    done: dict[tuple[int, int], str] = {}
    for action in schedule.compute(stage):
        key = (action.micro_batch, action.chunk)
        done[key] = done.get(key, "") + _letter(action)
    expected = {(i, chunk) for i in range(schedule.micro_batches) for chunk in range(schedule.chunks)}
    if unknown := sorted(done.keys() - expected):
        yield f"(micro-batch, chunk) {unknown[0]} is not part of the step"
    for key in sorted(expected):
        if done.get(key, "") not in {"FB", "FIW"}:
            yield f"micro-batch {key[0]} in chunk {key[1]} runs {done.get(key, '') or 'nothing'}, not FB or FIW"


def _order_of_sums(schedule: Schedule, stage: int) -> Iterator[str]:
    for chunk in range(schedule.chunks):
        sums = [
            action.micro_batch
            for action in schedule.compute(stage)
            if isinstance(action, Backward | BackwardWeight) and action.chunk == chunk
        ]
        if sums != sorted(sums):
            yield f"the weights' gradients of chunk {chunk} are summed in the order {sums}"


def _messages(schedule: Schedule, stage: int) -> Iterator[str]:
    """Walks the list: what is at hand when it is needed, and what is still owed at the end."""
    read: Counter[Receive] = Counter()
    owed: Counter[Send] = Counter()
    seen: Counter[Receive | Send] = Counter()
    sizes = (schedule.stages, schedule.chunks)
    for action in schedule.actions[stage]:
        match action:
            case Receive():
                read[action] += 1
                seen[action] += 1
            case Send():
                if not owed[action]:
                    yield f"{action} comes before anything made its message"
                owed[action] -= 1
                seen[action] += 1
            case _:
                if (needed := reads(action, stage, *sizes)) and not read[needed]:
                    yield f"{action} is reached without {needed}"
                if needed:
                    read[needed] -= 1
                if made := makes(action, stage, *sizes):
                    owed[made] += 1
    yield from (f"{receive} is read by nobody" for receive, count in read.items() if count > 0)
    yield from (f"{send} is missing" for send, count in owed.items() if count > 0)
    yield from (f"{transfer} happens {count} times" for transfer, count in seen.items() if count > 1)


def _memory(schedule: Schedule, stage: int) -> Iterator[str]:
    allowed = in_flight_limit(schedule.name, stage, schedule.stages, schedule.micro_batches, schedule.chunks)
    if (peak := peak_in_flight(schedule.actions[stage])) > allowed:
        yield f"keeps {peak} activations at once; {schedule.name} allows {allowed}"


def _ends(schedule: Schedule) -> Iterator[str]:
    try:
        simulate(schedule, Workload((PieceTimes(1, 1, 1),) * schedule.positions))
    except Stuck as error:
        yield str(error)


def _letter(action: Compute) -> str:
    match action:
        case Forward():
            return "F"
        case Backward():
            return "B"
        case BackwardInput():
            return "I"
        case BackwardWeight():
            return "W"
