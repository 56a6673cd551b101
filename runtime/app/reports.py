"""A supervisor's reports as events of the journal. Events that actors publish themselves pass through unchanged."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

from runtime import events as facts
from runtime.actors.exit import ProcessExit
from runtime.actors.frames import Hello
from runtime.events import Event
from runtime.ids import ActorPath, child_path
from runtime.supervision import Exited, GivingUp, Ready, RestartPlanned, Starting, Stopping, Stuck, Supervisor


def policies(tree: Supervisor, path: ActorPath) -> Iterator[facts.SupervisorStarted]:
    """What each supervisor of this process will forgive, parents first; `path` is the root's."""
    spec = tree.spec
    pid, host = os.getpid(), socket.gethostname()
    yield facts.SupervisorStarted(path, spec.strategy.value, spec.intensity, spec.period_seconds, pid, host)
    for child in spec.children:
        if isinstance(child.start, Supervisor):
            yield from policies(child.start, child_path(path, child.id))


def as_event(said: object, path: ActorPath) -> tuple[Event, ActorPath] | None:
    """The journal's form of what an actor or supervisor emitted, with whose it is; None for what is not kept."""
    match said:
        case Starting():
            return facts.ActorStarting(said.path, said.incarnation), said.path
        case Ready():
            hello = said.value if isinstance(said.value, Hello) else None
            pid = hello.pid if hello else 0
            info = hello.info if hello else {}
            host, device = info.get("host", ""), info.get("device", "")
            return facts.ActorReady(said.path, said.incarnation, pid, host, device, said.seconds), said.path
        case Exited():
            end = said.exit
            code = end.error.status if isinstance(end.error, ProcessExit) else None
            tail = "" if end.ok or said.asked else end.tail
            expected = said.asked or end.ok
            return facts.ActorExited(said.path, said.incarnation, end.kind, end.detail, code, tail, expected), said.path
        case RestartPlanned():
            planned = facts.RestartPlanned(said.path, said.attempt, said.delay_seconds, said.left)
            return planned, said.path
        case GivingUp():
            return facts.SupervisorGaveUp(said.culprit, said.reason, said.tail), said.path
        case Stuck():
            text = f"{said.path} still runs {said.seconds:g} s after it was cancelled"
            return facts.Warned(said.path, text, "the process will be ended by force"), said.path
        case Stopping():
            return None
        case _:
            return (said, path) if isinstance(said, facts.Known) else None
