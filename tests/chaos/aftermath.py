"""What followed each blow of a mixture: pure figures from the blows and the journal.

    struck -> the root saw a victim's exit -> the next commit -> everybody takes part again

The next commit counts from the loss on: a step that was already voted for when the blow came proves nothing. Blows do
not wait for each other, so `whole again` may include what a later one did.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runtime.events import ActorExited, Envelope, RolledBack, RunStarted, StepCommitted, WorkerLost
from tests.chaos.hand import Struck
from tests.chaos.scene import COORDINATOR_PATH, Scene
from tests.support.run_process import rank_of


@dataclass(frozen=True)
class Aftermath:
    """Seconds from one blow to each milestone; None where it was not reached."""

    struck: Struck
    deaths: int
    """Of its victims."""
    exit_seconds: float | None
    next_commit_seconds: float | None
    whole_seconds: float | None


Who = tuple[str, int]
"""Path and incarnation of a process."""


def aftermaths(dealt: Sequence[Struck], journal: Sequence[Envelope]) -> list[Aftermath]:
    """One for each blow."""
    blamed = _blame(dealt, journal)
    wholes = _wholes(journal)
    return [_of(struck, blamed[index], journal, wholes) for index, struck in enumerate(dealt)]


def uninvited(dealt: Sequence[Struck], journal: Sequence[Envelope]) -> list[ActorExited]:
    """Unexpected ends of processes that no blow had met: damage beyond what was done."""
    invited = {who for struck in dealt for who in _victims(struck)}
    exits = [envelope.event for envelope in journal if isinstance(envelope.event, ActorExited)]
    return [end for end in exits if _is_process(end.path) and not end.expected and _who(end) not in invited]


def avoidable_rollbacks(journal: Sequence[Envelope]) -> int:
    """Steps taken back although a process that had taken part in the last commit still lived.

    Where everybody who held the newest state is dead, going back to the last checkpoint is right.
    """
    holders: set[str] = set()
    steps = 0
    for envelope in journal:
        match envelope.event:
            case StepCommitted(owners=owners):
                holders = {f"run/node/worker-{rank}" for rank in owners}
            case ActorExited(path=path):
                holders.discard(path)
            case RunStarted():
                holders.clear()
            case RolledBack(from_step=begin, to_step=end) if holders:
                steps += begin - end
            case _:
                pass
    return steps


def _blame(dealt: Sequence[Struck], journal: Sequence[Envelope]) -> dict[int, list[Envelope]]:
    """Exits by the index of the blow that led to them: the last one that met the process before its end."""
    blamed: dict[int, list[Envelope]] = {index: [] for index in range(len(dealt))}
    for envelope in journal:
        if isinstance(envelope.event, ActorExited) and not envelope.event.expected:
            met = [
                index
                for index, struck in enumerate(dealt)
                if struck.wall_seconds <= envelope.wall_seconds and _who(envelope.event) in _victims(struck)
            ]
            if met:
                blamed[met[-1]].append(envelope)
    return blamed


def _wholes(journal: Sequence[Envelope]) -> list[tuple[float, bool, frozenset[Who]]]:
    """Whether the run was whole after each commit, and who lived."""
    scene, found = Scene(), []
    for envelope in journal:
        scene.take(envelope)
        if isinstance(envelope.event, StepCommitted):
            alive = frozenset((path, incarnation) for path, (_, incarnation) in scene.pids.items())
            found.append((envelope.wall_seconds, scene.whole, alive))
    return found


def _of(
    struck: Struck,
    exits: list[Envelope],
    journal: Sequence[Envelope],
    wholes: list[tuple[float, bool, frozenset[Who]]],
) -> Aftermath:
    began = struck.wall_seconds
    gone = {_who(envelope.event) for envelope in exits if isinstance(envelope.event, ActorExited)}
    seen = exits[0].wall_seconds if exits else None
    lost = _lost_at(struck, gone, journal, began) if exits else began
    whole_after = exits[-1].wall_seconds if exits else began
    commit = next((wall for wall, _, _ in wholes if wall > lost), None)
    whole = next(
        (wall for wall, is_whole, alive in wholes if wall > whole_after and is_whole and not gone & alive), None
    )
    return Aftermath(struck, len(gone), _since(began, seen), _since(began, commit), _since(began, whole))


def _lost_at(struck: Struck, gone: set[Who], journal: Sequence[Envelope], began: float) -> float:
    """When the first victim was counted out; the coordinator is, when its exit is seen."""
    for envelope in journal:
        if envelope.wall_seconds < began:
            continue
        match envelope.event:
            case ActorExited(path=path) as event if path == COORDINATOR_PATH and _who(event) in gone:
                return envelope.wall_seconds
            case WorkerLost(rank=rank, incarnation=incarnation) if (f"run/node/worker-{rank}", incarnation) in gone:
                return envelope.wall_seconds
            case _:
                pass
    return began


def _since(began: float, wall: float | None) -> float | None:
    return None if wall is None else wall - began


def _victims(struck: Struck) -> set[Who]:
    return {
        (COORDINATOR_PATH if victim.rank is None else f"run/node/worker-{victim.rank}", victim.incarnation)
        for victim in struck.victims
    }


def _who(event: ActorExited) -> Who:
    return event.path, event.incarnation


def _is_process(path: str) -> bool:
    return path == COORDINATOR_PATH or rank_of(path) is not None
