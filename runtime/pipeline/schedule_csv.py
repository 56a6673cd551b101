"""A schedule as text, one line per action: for a bug report, a spreadsheet, an eye. It reads back to the same value."""

from __future__ import annotations

import csv
import io

from runtime.pipeline.actions import (
    SCHEDULE_NAMES,
    Action,
    Backward,
    BackwardInput,
    BackwardWeight,
    Compute,
    Forward,
    Payload,
    Receive,
    Schedule,
    Send,
)

HEADER = ("schedule", "stages", "micro_batches", "chunks", "capacity")
COLUMNS = ("stage", "index", "action", "micro_batch", "chunk", "payload", "boundary", "peer")
_COMPUTE: dict[str, type[Compute]] = {
    "forward": Forward,
    "backward": Backward,
    "backward_input": BackwardInput,
    "backward_weight": BackwardWeight,
}
_TRANSFER: dict[str, type[Send | Receive]] = {"send": Send, "receive": Receive}
_NAMES = {kind: name for name, kind in {**_COMPUTE, **_TRANSFER}.items()}


def dump(schedule: Schedule) -> str:
    """The schedule as CSV: two lines that say which it is, a header, one line per action."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerow(
        (schedule.name, schedule.stages, schedule.micro_batches, schedule.chunks, schedule.capacity),
    )
    writer.writerow(COLUMNS)
    for stage, actions in enumerate(schedule.actions):
        for index, action in enumerate(actions):
            writer.writerow((stage, index, _NAMES[type(action)], action.micro_batch, action.chunk, *_message(action)))
    return text.getvalue()


def load(text: str) -> Schedule:
    """What `dump` wrote, or what a hand has changed in it: prove it with `validator.faults` before it is run.

    Raises ValueError with the line that is wrong."""
    rows = list(csv.reader(io.StringIO(text)))
    if len(rows) < 3 or tuple(rows[0]) != HEADER or tuple(rows[2]) != COLUMNS:
        raise ValueError(f"not a schedule: the first line is {','.join(HEADER)}, the third {','.join(COLUMNS)}")
    name, *sizes = rows[1]
    if name not in SCHEDULE_NAMES:
        raise ValueError(f"line 2: no schedule is called {name}")
    stages, micro_batches, chunks, capacity = (int(size) for size in sizes)
    actions: list[list[Action]] = [[] for _ in range(stages)]
    for number, row in enumerate(rows[3:], 4):
        try:
            stage, action = _action(row)
            actions[stage].append(action)
        except (ValueError, KeyError, IndexError) as error:
            raise ValueError(f"line {number}: {','.join(row)} is no action of a stage") from error
    lists = tuple(map(tuple, actions))
    return Schedule(name, stages, micro_batches, chunks, lists, capacity)


def _message(action: Action) -> tuple[str, str, str]:
    if isinstance(action, Send | Receive):
        return action.payload.value, str(action.boundary), str(action.peer)
    return "", "", ""


def _action(row: list[str]) -> tuple[int, Action]:
    stage, _, name, micro_batch, chunk, payload, boundary, peer = row
    if name in _COMPUTE:
        return int(stage), _COMPUTE[name](int(micro_batch), int(chunk))
    message = (Payload(payload), int(micro_batch), int(chunk), int(boundary), int(peer))
    return int(stage), _TRANSFER[name](*message)
