"""One run as its monitor tells it: connected, connected again after a loss, and always going on where it was.

Somebody must say where the monitor listens each time (`where`): the run's control socket, which starts the monitor if
there is none, or a bridge over SSH. Where that fails, or the stream breaks, it is tried again after 0.25, 0.5, ... 8 s.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeAlias

from mlxd_wire import control_pb2
from mlxd_wire import monitor_pb2 as pb

from console.client.picture import Picture
from console.client.wire import Unreachable, connected
from runtime.events import Envelope

FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 8.0
OPEN_SECONDS = 130.0
"""A monitor may have to be started first, on a busy machine."""
QUIET_SECONDS = 10.0
"""A stream without even a heartbeat for so long is broken, whatever the connection says."""
Where: TypeAlias = Callable[[], Awaitable[str]]
Heard: TypeAlias = Callable[[Picture, list[Envelope]], None]


class RunStream:
    """Keeps a Picture up to date for as long as `run` runs. Belongs to one asyncio loop."""

    def __init__(self, where: Where, want: pb.Want, picture: Picture | None = None) -> None:
        self.picture = picture or Picture()
        self.trouble = ""
        """Why there is no connection now, one sentence; empty while there is one."""
        self.connections = 0
        self._where, self._want = where, want
        self._later: asyncio.Queue[pb.Want] = asyncio.Queue(maxsize=1)
        """The newest wish that the monitor has not been told."""

    def watch(self, metrics: Iterable[str]) -> None:
        """From now on these curves, by name or pattern, and no others. What was heard of others stays."""
        wished = list(metrics)
        if wished == list(self._want.metrics):
            return
        want = pb.Want()
        want.CopyFrom(self._want)
        want.ClearField("metrics")
        want.metrics.extend(wished)
        self._want = want
        if self._later.full():
            self._later.get_nowait()
        self._later.put_nowait(want)

    async def run(self, heard: Heard) -> None:
        """Listen until cancelled; `heard` is called after every frame, with the events that are new in it."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            frames = 0
            try:
                address = await self._where()
                async with connected(address) as connection:
                    stream = connection.listen(
                        "/mlxd.Monitor/Watch", self.picture.want(self._want), pb.Frame, self._later
                    )
                    async for frame in unless_quiet(stream, QUIET_SECONDS):
                        if not frames:
                            self.trouble, self.connections = "", self.connections + 1
                        frames += 1
                        heard(self.picture, self.picture.take(frame, time.monotonic(), time.time()))
                self.trouble = "the monitor has ended the stream"
            except Unreachable as lost:
                self.trouble = str(lost)
            pause = FIRST_PAUSE_SECONDS if frames else min(LONGEST_PAUSE_SECONDS, pause * 2)
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))


async def unless_quiet(stream: AsyncIterator[pb.Frame], seconds: float) -> AsyncIterator[pb.Frame]:
    """The stream's frames; raises Unreachable when none comes for `seconds`."""
    while True:
        try:
            async with asyncio.timeout(seconds):
                frame = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise Unreachable(f"the monitor has said nothing for {seconds:g} s") from None
        yield frame


def monitor_of(run_folder: Path) -> Where:
    """Where the monitor of a run of this machine listens; asking starts it. Raises Unreachable."""

    async def where() -> str:
        async with connected(control_of(run_folder)) as connection:
            request, kind = control_pb2.OpenMonitorRequest(), control_pb2.OpenMonitorReply
            reply = await connection.ask("/mlxd.Control/OpenMonitor", request, kind, within_seconds=OPEN_SECONDS)
        if reply.refusal:
            raise Unreachable(reply.refusal)
        return reply.address

    return where


def control_of(run_folder: Path) -> str:
    """The address of a run's control socket. Raises Unreachable where it has none."""
    named = run_folder.resolve() / "control.sock"
    path = named.readlink() if named.is_symlink() else named
    if not path.exists():
        raise Unreachable(f"{run_folder} is not running, or just beginning or ending")
    return f"unix:{path}"


async def log_batches(address: str, want: pb.LogWant, cursor: Mapping[str, int]) -> AsyncIterator[pb.LogBatch]:
    """Lines of logs from a monitor, from `cursor` on. Raises Unreachable when the stream breaks."""
    asked = pb.LogWant()
    asked.CopyFrom(want)
    asked.cursor.update(cursor)
    async with connected(address) as connection:
        async for batch in connection.listen("/mlxd.Monitor/Tail", asked, pb.LogBatch):
            yield batch
