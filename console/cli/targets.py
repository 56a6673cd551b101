"""TARGET on a command line: a run's folder, `unix:PATH` of its control socket, or `ssh://[user@]host[:port][/run]`.

What a command asks of a run goes to its two services at an address; over ssh that is the address of a line, which lives
for as long as the command needs it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from mlxd_wire import monitor_pb2 as pb

from runtime.errors import RunError, RunFolderError, UsageError
from runtime.view.cards import RunView

T = TypeVar("T")


class Reached:
    """A run that answers: where its services are."""

    def __init__(self, name: str, control: str, monitor: Callable[[], Awaitable[str]], status: str) -> None:
        self.name, self.control, self.monitor = name, control, monitor
        self.status = status
        """The call that tells its status at `control`: one that only looks has no Control service."""


@asynccontextmanager
async def reached(place: str, *, operate: bool, remote_command: str = "") -> AsyncIterator[Reached]:
    """The run that `place` names. Raises UsageError for what is none, RunFolderError for one that cannot be reached."""
    import os

    from console.cli.reaching import ssh_from
    from console.client.line import Line, NoWay
    from console.client.ssh_target import SCHEME, NotATarget, SshTarget

    if not place.startswith(SCHEME):
        address = local_address(place)
        yield Reached(place, address, monitor_at(address), "/mlxd.Control/Status")
        return
    try:
        line = Line(SshTarget.parse(place), ssh_from(os.environ, remote_command, operate=operate))
    except NotATarget as wrong:
        raise UsageError(str(wrong)) from wrong
    try:
        yield Reached(place, await line.where(), line.where, "/mlxd.Monitor/Status")
    except NoWay as none:
        raise RunFolderError(str(none)) from none
    finally:
        await line.close()


def local_address(place: str) -> str:
    """Where the control socket of a run of this machine is. Raises UsageError, RunFolderError."""
    from console.cli.control import address_of
    from console.client.ssh_target import UNIX

    if not place.startswith(UNIX):
        return address_of(Path(place).expanduser())
    socket = Path(place.removeprefix(UNIX)).expanduser()
    if not socket.exists():
        raise RunFolderError(f"{place}: there is no such socket; the run may be over")
    return f"{UNIX}{socket.resolve()}"


def is_folder(place: str) -> bool:
    """Whether it is meant to be a folder of this machine."""
    from console.client.ssh_target import SCHEME, UNIX

    return not place.startswith((SCHEME, UNIX))


async def seen(place: str) -> tuple[RunView, float]:
    """The picture of a live run, and the Unix time over there. Raises as `reached` does, and RunError."""
    import time

    from mlxd_wire import monitor_pb2 as pb

    from console.client.picture import Picture
    from console.client.wire import Unreachable, connected

    picture = Picture()
    async with reached(place, operate=False) as run:
        try:
            async with connected(await run.monitor()) as connection:
                async for frame in connection.listen("/mlxd.Monitor/Watch", pb.Want(), pb.Frame):
                    picture.take(frame, time.monotonic(), time.time())
                    if picture.has_rows:
                        break
        except Unreachable as lost:
            raise RunError(f"{place}: {lost}") from lost
    return picture.view, time.time() + picture.clock_offset_seconds


async def tailed(place: str, want: pb.LogWant) -> AsyncIterator[pb.LogBatch]:
    """Lines of a live run's logs, until it ends. Raises as `reached` does."""
    from console.client.stream import log_batches
    from console.client.wire import Unreachable

    async with reached(place, operate=False) as run:
        try:
            async for batch in log_batches(await run.monitor(), want, {}):
                yield batch
        except Unreachable:
            return  # the run is over


def done(work: Awaitable[T]) -> T:
    """Run it in a loop of its own."""

    async def whole() -> T:
        return await work

    return asyncio.run(whole())


def monitor_at(control: str) -> Callable[[], Awaitable[str]]:
    """Where the monitor of the run listens whose control socket is at this address; asking starts it. It raises
    Unreachable."""

    async def where() -> str:
        from mlxd_wire import control_pb2 as pb

        from console.client.stream import OPEN_SECONDS
        from console.client.wire import Unreachable, connected

        async with connected(control) as connection:
            request, kind = pb.OpenMonitorRequest(), pb.OpenMonitorReply
            reply = await connection.ask("/mlxd.Control/OpenMonitor", request, kind, within_seconds=OPEN_SECONDS)
        if reply.refusal:
            raise Unreachable(reply.refusal)
        return reply.address

    return where
