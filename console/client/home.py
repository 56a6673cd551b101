"""Where a run's folder lies, and how a command of ours is run there: here, or over the ssh that reaches the machine.

Commands about files (`checkpoints verify RUN`) need the folder itself; what a run's services answer does not do.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from mlxd_wire import monitor_pb2 as pb

from console.client.commands import Done, command, executed
from console.client.line import HELLO_SECONDS, VERSION, Line
from console.client.stream import Where
from console.client.wire import Unreachable, connected


class Home(Protocol):
    """Where a run's folder lies."""

    @property
    def folder(self) -> str:
        """The folder, as a command there takes it; empty while nobody has said it."""

    @property
    def is_far(self) -> bool:
        """Whether it is on another machine."""

    async def command(self, noun: str, verb: str, *rest: str) -> Done:
        """Run `mlx-distributed NOUN VERB <the folder> REST` there, to its end."""

    def by_hand(self, text: str) -> str:
        """What a person types here to have the command line `text` run there."""


class HomeHere:
    """A folder of this machine."""

    is_far = False

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    async def command(self, noun: str, verb: str, *rest: str) -> Done:
        """As a child of this process."""
        return await command(noun, verb, self.folder, *rest)

    def by_hand(self, text: str) -> str:
        """As it is."""
        return text


class HomeOfSocket:
    """A run of this machine of which only a socket was named: its monitor says where its folder is."""

    is_far = False

    def __init__(self, where: Where) -> None:
        self.folder = ""
        self._where = where

    async def command(self, noun: str, verb: str, *rest: str) -> Done:
        """As a child of this process, once the monitor has answered."""
        if not self.folder:
            try:
                async with connected(await self._where()) as connection:
                    hello, kind = pb.HelloRequest(version=VERSION), pb.HelloReply
                    reply = await connection.ask("/mlxd.Monitor/Hello", hello, kind, within_seconds=HELLO_SECONDS)
            except Unreachable as lost:
                return Done(1, "", str(lost))
            self.folder = reply.folder
        return await command(noun, verb, self.folder, *rest)

    def by_hand(self, text: str) -> str:
        """As it is."""
        return text


class HomeOverThere:
    """A folder of the machine at the other end of a line; each command is an ssh of its own, which asks nothing."""

    is_far = True

    def __init__(self, line: Line) -> None:
        self._line = line

    @property
    def folder(self) -> str:
        """As the far end said when it was greeted."""
        return self._line.greeting.folder if self._line.greeting is not None else ""

    async def command(self, noun: str, verb: str, *rest: str) -> Done:
        """Over ssh. A key that may only look is refused over there, in a sentence."""
        if not self.folder:
            return Done(1, "", f"{self._line.target.machine} has not answered yet")
        return await executed(self._line.ssh.over_there(self._line.target, (noun, verb, self.folder, *rest)))

    def by_hand(self, text: str) -> str:
        """With ssh before it."""
        words: Sequence[str] = shlex.split(text)
        return self._line.ssh.by_hand(self._line.target, *words)
