"""Alarms that a fact raised, as a person needs them: of which kind, whom they are about, and the command that helps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from runtime.events import RunState
from runtime.events.state import Alarm
from runtime.ids import Rank
from runtime.view.cards import AlarmCard

_RULES: Mapping[str, str] = {
    "worker": "worker_lost",
    "gave up": "gave_up",
    "run": "run_failed",
    "rollback": "rolled_back",
    "checkpoint": "checkpoint_failed",
    "rejected": "checkpoint_rejected",
    "memory": "out_of_memory",
    "drift": "replica_drifted",
    "device": "device_suspected",
    "data": "data_suspected",
    "retired": "worker_retired",
    "warned": "warned",
}
"""First words of a key (runtime.events.alarms) -> the kind of alarm."""
_OF_WORKER = ("worker", "memory", "drift", "device", "retired")
_PAUSED = "paused:"


def told_alarms(state: RunState, folder: str) -> Iterator[AlarmCard]:
    """Every alarm that the facts raised, mended ones included; `folder` is the run's, as a user types it."""
    for alarm in state.alarms.values():
        word = _first_words(alarm.key)
        rank = _rank(alarm.key) if word in _OF_WORKER else None
        row = state.workers.get(rank) if rank is not None else None
        mended = alarm.mended or _is_over(alarm, state)
        yield AlarmCard(
            key=alarm.key,
            rule=_rule(word, alarm),
            level="critical" if _is_paused(alarm) and not mended else alarm.severity,
            subject=alarm.place,
            host=row.host if row else (state.plan.host if state.plan else ""),
            cause=alarm.cause,
            fix=alarm.fix or _fix(word, state),
            command=_command(word, rank, folder, state),
            since_seconds=alarm.since_seconds,
            seen=alarm.seen,
            is_mended=mended,
        )


def _first_words(key: str) -> str:
    return "gave up" if key.startswith("gave up") else key.partition(" ")[0]


def _rank(key: str) -> Rank | None:
    last = key.rpartition(" ")[2]
    return Rank(int(last)) if last.isdecimal() else None


def _rule(word: str, alarm: Alarm) -> str:
    if _is_paused(alarm):
        return "paused"
    if word == "worker" and alarm.cause.startswith("hung"):
        return "worker_hung"
    return _RULES.get(word, "warned")


def _is_paused(alarm: Alarm) -> bool:
    return alarm.key == "warned coordinator" and alarm.cause.startswith(_PAUSED)


def _is_over(alarm: Alarm, state: RunState) -> bool:
    """A pause has no fact of its own for its end: the next commit is it."""
    last = state.training.recent.last
    return _is_paused(alarm) and last is not None and last.wall_seconds > alarm.since_seconds


def _fix(word: str, state: RunState) -> str:
    if word == "worker":
        return "its supervisor starts it again, and its peers heal it; its log has the reason"
    if word == "rollback":
        return "nothing, if the loss falls again; else lower optim.lr"
    if word == "run":
        return "mend the cause, then go on from the newest checkpoint"
    return "its log has more"


def _command(word: str, rank: Rank | None, folder: str, state: RunState) -> str:
    if rank is not None:
        return f"mlx-distributed logs {folder} --worker {rank}"
    if word == "run" and state.plan is not None and state.plan.command:
        return state.plan.command
    if word in {"checkpoint", "rejected"}:
        return f"mlx-distributed checkpoints verify {folder}"
    return f"mlx-distributed logs {folder} --level warning"
