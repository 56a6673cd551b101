"""A supervisor process to be killed: runs one child of tests.support.actor_child and prints every pid below it.

python -P -m tests.support.actor_parent MODE WATCH LOG
"""

from __future__ import annotations

import sys
from pathlib import Path

import trio

from runtime.actors import FrameHooks, Hello, ProcessActor, ProcessSpec, Report, Source
from runtime.supervision import ChildSpec, Supervisor, SupervisorSpec, supervise


class Pids(FrameHooks):
    """Prints the child's pid, and the one that it reports."""

    def hello(self, source: Source, frame: Hello) -> None:
        print(frame.pid, flush=True)

    def report(self, source: Source, frame: Report) -> None:
        print(frame.body["pid"], flush=True)


async def main(*args: str) -> None:
    """Supervise until killed."""
    mode, watch, log = args
    argv = (sys.executable, "-P", "-m", "tests.support.actor_child", mode, "--watch", watch)
    actor = ProcessActor(ProcessSpec(argv, Path(log)), Pids())
    await supervise(Supervisor(SupervisorSpec((ChildSpec("child", actor),))), path="run", emit=lambda event: None)


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
