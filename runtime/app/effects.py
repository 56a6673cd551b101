"""What an action on a live run would do, in sentences, and what a person should type before it is done. Pure.

What cannot be done now is a Refusal with the next move.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from runtime.app.crew import Refusal
from runtime.events import RunState
from runtime.ids import ActorPath, Rank, rank_of

COORDINATOR = ActorPath("run/coordinator")
MONITOR = ActorPath("run/monitoring/monitor")


@dataclass(frozen=True)
class Effects:
    """Sentences without a full stop, and the word that a careful console asks for (empty: a plain yes is enough)."""

    sentences: tuple[str, ...]
    confirm: str = ""


@dataclass(frozen=True)
class Scene:
    """What is looked at: the facts so far, and the workers that there are or that come back."""

    state: RunState
    ranks: Sequence[Rank]


def effects_of(kind: str, subject: str, at: Scene) -> Effects:
    """What the action would do. Raises Refusal where it makes no sense now, or is none."""
    if kind not in EFFECTS:
        raise Refusal(f"{kind!r} is no action; there are {', '.join(EFFECTS)}")
    return EFFECTS[kind](subject, at)


def rank_from(subject: str) -> Rank | None:
    """The rank that a subject names; None for an empty one. Raises Refusal for anything else."""
    if not subject:
        return None
    if not subject.isdecimal():
        raise Refusal(f"{subject!r} is no rank: a number from 0")
    return Rank(int(subject))


def _pause(subject: str, at: Scene) -> Effects:
    if at.state.pausing:
        raise Refusal(f"the run is {at.state.status} already ({at.state.pausing}); resume it first")
    last = at.state.training.step
    under_way = f"step {last + 1} is finished, and no other begins" if last else "the work under way is finished"
    return Effects((under_way, "every process stays, with its memory; nobody gives up while it waits"))


def _resume(subject: str, at: Scene) -> Effects:
    if not at.state.pausing:
        raise Refusal("the run is not paused")
    step = at.state.paused_step
    return Effects((f"step {step + 1} begins" if step is not None else "the pause that was asked for is called off",))


def _checkpoint(subject: str, at: Scene) -> Effects:
    state = at.state
    if state.paused_step is not None:
        if any(each.step == state.paused_step for each in state.checkpoints):
            raise Refusal(f"step {state.paused_step}, at which the run stands, is on disk already")
        return Effects((f"step {state.paused_step} is written; the run stays paused",))
    return Effects((f"the state after step {state.training.step + 1} is written, while training goes on",))


def _stop(subject: str, at: Scene) -> Effects:
    first = "the run ends where it stands" if at.state.paused_step is not None else "the step under way is finished"
    return Effects((first, "a checkpoint is written", "the run ends; it can be resumed"))


def _add_worker(subject: str, at: Scene) -> Effects:
    return Effects(("one more worker starts on this machine", "the others heal it; it joins at a step boundary"))


def _remove_worker(subject: str, at: Scene) -> Effects:
    rank, ranks = rank_from(subject), at.ranks
    leaves = (ranks[-1] if ranks else None) if rank is None else rank
    if leaves is None or leaves not in ranks:
        raise Refusal(f"there is no worker {leaves}; there are {', '.join(map(str, ranks)) or 'none'}")
    stay = ", ".join(str(other) for other in ranks if other != leaves) or "nobody"
    gone = (f"worker {leaves} ends for good", f"its part of the step is done by {stay}")
    return Effects(gone, confirm=f"worker-{leaves}")


def _restart(subject: str, at: Scene) -> Effects:
    path = _actor(subject, at)
    rank = rank_of(path)
    if rank is None:
        return Effects((f"{path} ends and starts anew", "nobody's restart limit is burnt", *_aside(path)))
    again = f"worker {rank} ends and starts anew"
    if len(at.ranks) == 1:
        return Effects((again, "nobody else has the state: the run goes back to its newest checkpoint"))
    return Effects((f"{again}, healed by the others", f"no step is lost: {at.state.training.step} stands"))


def _kill(subject: str, at: Scene) -> Effects:
    path = _actor(subject, at)
    row = at.state.actors.get(path)
    if row is None or row.status != "ready" or not row.pid:
        raise Refusal(f"{path} has no process now: it is {row.status if row else 'unknown'}; try again in a moment")
    rank, name = rank_of(path), path.rpartition("/")[2]
    told = [f"process {row.pid} ({name}) ends at once, with nothing saved"]
    if rank is not None and len(at.ranks) > 1:
        told.append(f"the others finish the step without it; no step is lost: {at.state.training.step} stands")
        told.append("its supervisor starts it again, and the others heal it")
    elif rank is not None:
        told.append("nobody else has the state: the run goes back to its newest checkpoint")
    told.extend(_aside(path))
    told.append(_budget(path, at.state))
    return Effects(tuple(told), confirm=name)


def _aside(path: ActorPath) -> tuple[str, ...]:
    if path == COORDINATOR:
        return ("a successor goes on from the last committed step; no step is lost",)
    if path == MONITOR:
        return ("consoles show stale figures for a moment; training does not notice",)
    return ()


def _budget(path: ActorPath, state: RunState) -> str:
    """What the failure costs the supervisor of that actor."""
    above = state.actors.get(ActorPath(path.rpartition("/")[0]))
    if above is None or above.budget is None:
        return "its supervisor counts a failure"
    recent = [when for when in above.failures if when > state.wall_seconds - above.period_seconds]
    left, period = above.budget - len(recent) - 1, f"{above.period_seconds:g} s"
    if left < 0:
        return f"its supervisor has no restart left within {period}: it GIVES UP, and all below it ends"
    return f"its supervisor counts a failure: {left} of {above.budget} restarts within {period} are left"


def _acknowledge(subject: str, at: Scene) -> Effects:
    if not subject:
        raise Refusal("which alarm? its key is the subject")
    return Effects(("the alarm is shown as seen, until its cause comes back",))


def _actor(subject: str, at: Scene) -> ActorPath:
    """The path of an actor that is a process under a supervisor of the run. Raises Refusal for another one."""
    path = ActorPath(subject)
    parent = path.rpartition("/")[0]
    if (parent == "run/node" and rank_of(path) in at.ranks) or path in (COORDINATOR, MONITOR):
        return path
    able = f"a worker (run/node/worker-N), {COORDINATOR} or {MONITOR} can"
    raise Refusal(f"{path or 'nobody'} cannot be restarted by itself; {able}")


EFFECTS: dict[str, Callable[[str, Scene], Effects]] = {
    "pause": _pause,
    "resume": _resume,
    "checkpoint": _checkpoint,
    "stop": _stop,
    "add_worker": _add_worker,
    "remove_worker": _remove_worker,
    "restart": _restart,
    "kill": _kill,
    "acknowledge": _acknowledge,
}
"""Every action that there is."""
