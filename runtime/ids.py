"""Identities, with types: a rank is not a step, and mypy knows.

Rank        slot of a worker in the run, 0 .. n-1; stable across restarts of the process that fills it
Incarnation how often that slot (or any supervised child) was started, from 1; tells a zombie from its successor
Generation  number of the membership; bumped at every change of it; every message carries it and stale ones are refused
Step        1, 2, 3, ...; step t turns state t-1 into state t; state 0 is the initial model
ShardId     logical shard of a global batch, 0 .. V-1; the unit of work that moves between workers
Cursor      number of training samples consumed since the beginning of the run, over all epochs
"""

from __future__ import annotations

import re
from typing import NewType

Rank = NewType("Rank", int)
Incarnation = NewType("Incarnation", int)
Generation = NewType("Generation", int)
Step = NewType("Step", int)
ShardId = NewType("ShardId", int)
Cursor = NewType("Cursor", int)
RunId = NewType("RunId", str)
ActorPath = NewType("ActorPath", str)

_WORKER = re.compile(r"(?:.*/)?worker-(\d+)")
_RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def is_run_name(text: str) -> bool:
    """Whether `text` may name a run: it becomes a folder, so letters, digits, dot, dash and underscore, 100 at most."""
    return _RUN_NAME.fullmatch(text) is not None


def child_path(parent: ActorPath, child: str) -> ActorPath:
    """Path of a supervised child: `run/node/worker-0/trainer`."""
    return ActorPath(f"{parent}/{child}" if parent else child)


def rank_of(path: str) -> Rank | None:
    """The rank in the path of a worker's process, `run/node/worker-3`; None for any other actor, also inside one."""
    match = _WORKER.fullmatch(path)
    return Rank(int(match[1])) if match else None
