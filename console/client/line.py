"""One ssh to one machine: started when somebody wants to listen, started again after a loss, never two at once.

`where` starts ssh and waits until the far end speaks; only then is there an address to connect to, a unix socket in a
folder of the user's own, and the first connection to it is that ssh. All calls to the machine share the connection.
What goes wrong is told as a Diagnosis: at which step, why, and what mends it. Who tries again, and when, is the
caller's.
"""

from __future__ import annotations

import asyncio
import secrets
import shlex
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlxd_wire import control_pb2
from mlxd_wire import monitor_pb2 as pb

from console.client.bridge import CHUNK_BYTES, bridge
from console.client.diagnosis import Diagnosis, diagnose, is_http2, lost, no_ssh, noise, other_protocol
from console.client.ssh_target import Ssh, SshTarget
from console.client.wire import Connection, Unreachable, connected
from runtime.config.private_folder import private_folder, socket_path

PROTOCOL = 2
"""Of the Monitor service that this console understands."""
VERSION = "console"
DIAL_SECONDS = 150.0
"""A login may take ten, and a monitor that must be started first on a busy machine two minutes."""
HELLO_SECONDS = 20.0
MOST_LINES = 20


class NoWay(Unreachable):
    """The machine or its run cannot be reached; `diagnosis` says why."""

    def __init__(self, diagnosis: Diagnosis) -> None:
        super().__init__(f"{diagnosis.sentence}; {diagnosis.fix}")
        self.diagnosis = diagnosis


@dataclass(frozen=True)
class Greeting:
    """What the far end said of itself."""

    version: str
    folder: str
    clock_offset_seconds: float
    """Its clock minus ours."""
    round_trip_seconds: float
    may_act: bool
    """Whether the bridge passes on what changes the run."""
    why_not: str = ""


@dataclass
class _Call:
    """An ssh that lives."""

    process: asyncio.subprocess.Process
    first: bytes
    errors: asyncio.Task[None]
    is_taken: bool = False


class Line:
    """Belongs to one asyncio loop; `close` ends it."""

    def __init__(self, target: SshTarget, ssh: Ssh, folder: Path | None = None) -> None:
        """`folder` is where the socket lies; None: in the user's own (see private_folder)."""
        self.target, self.ssh = target, ssh
        self.trouble: Diagnosis | None = None
        """Why there is no connection now; None while there is one, or before the first."""
        self.greeting: Greeting | None = None
        self.transcript: deque[str] = deque(maxlen=MOST_LINES)
        """The command, and what ssh wrote to stderr, newest last."""
        self.dialled = 0
        """How often ssh was started."""
        self.received_bytes = 0
        self._folder = folder
        self._socket: Path | None = None
        self._server: asyncio.Server | None = None
        self._call: _Call | None = None
        self._held: asyncio.Task[None] | None = None
        self._dialling = asyncio.Lock()

    @property
    def is_up(self) -> bool:
        """Whether there is a connection."""
        return self._call is not None and self._call.process.returncode is None

    @property
    def pid(self) -> int:
        """ssh's process id; 0 without one."""
        return self._call.process.pid if self._call is not None else 0

    async def where(self) -> str:
        """The address at which the machine's run answers. Raises NoWay, which is Unreachable."""
        async with self._dialling:
            if self.is_up and self._held is not None and not self._held.done():
                return self.address
            await self._hang_up()
            try:
                self._call = await self._dial()
                await self._listen()
                await self._greet()
            except NoWay as none:
                self.trouble = none.diagnosis
                await self._hang_up()
                raise
            self.trouble = None
            return self.address

    @property
    def address(self) -> str:
        """Of the socket."""
        return f"unix:{self._socket}"

    async def close(self) -> None:
        """End ssh, and leave nothing behind."""
        await self._hang_up()
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._socket is not None:
            self._socket.unlink(missing_ok=True)

    # ---- ssh

    async def _dial(self) -> _Call:
        """Start ssh; return when the bridge speaks. Raises NoWay."""
        words = self.ssh.dial(self.target)
        self.transcript.append(f"$ {shlex.join(words)}")
        self.dialled += 1
        pipe = asyncio.subprocess.PIPE
        try:
            process = await asyncio.create_subprocess_exec(
                *words, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
            )
        except OSError as failed:
            self.transcript.append(str(failed))
            raise NoWay(no_ssh(self.ssh)) from failed
        said: list[str] = []
        call = _Call(process, b"", asyncio.create_task(self._hear(process, said)))
        assert process.stdout is not None
        try:
            async with asyncio.timeout(DIAL_SECONDS):
                call.first = await process.stdout.read(CHUNK_BYTES)
                code = None if call.first else await process.wait()
                if code is not None:
                    await call.errors
        except TimeoutError:
            await _ended(call)
            raise NoWay(diagnose(255, "connection timed out", self.target, self.ssh)) from None
        except BaseException:
            await _ended(call)
            raise
        if code is not None:
            self.transcript.append(f"exit {code}")
            raise NoWay(diagnose(code, "\n".join(said), self.target, self.ssh))
        if not is_http2(call.first):
            await _ended(call)
            raise NoWay(noise(call.first, self.target, self.ssh))
        return call

    async def _hear(self, process: asyncio.subprocess.Process, said: list[str]) -> None:
        assert process.stderr is not None
        while line := await process.stderr.readline():
            text = line.decode(errors="replace").rstrip()
            self.transcript.append(text)
            said.append(text)
            del said[:-200]

    # ---- the socket

    async def _listen(self) -> None:
        if self._server is not None:
            return
        folder = self._folder or private_folder()
        self._socket = socket_path(folder, f"h{secrets.token_hex(4)}.s")
        self._server = await asyncio.start_unix_server(self._carry, self._socket)
        self._socket.chmod(0o600)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The first connection gets the ssh that was started for it; any other finds nobody."""
        call = self._call
        if call is None or call.is_taken or call.process.returncode is not None:
            writer.close()
            return
        call.is_taken = True
        process = call.process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            writer.write(call.first)
            self.received_bytes += len(call.first)
            await bridge((_Counted(process.stdout, self), process.stdin), (reader, writer))
        finally:
            writer.close()
            if self._call is call:
                self.trouble = lost(self.transcript[-1] if self.transcript else "", self.target)
            await _ended(call)

    # ---- who is there

    async def _greet(self) -> None:
        """Hear who the far end is, and hold the connection for as long as it lives. Raises NoWay."""
        ready: asyncio.Future[Greeting] = asyncio.get_running_loop().create_future()
        self._held = asyncio.create_task(self._hold(ready))
        first: list[asyncio.Future[Any]] = [self._held, ready]
        await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            self._held.result()
            raise NoWay(lost("", self.target))
        self.greeting = ready.result()

    async def _hold(self, ready: asyncio.Future[Greeting]) -> None:
        async with connected(self.address) as connection:
            try:
                greeting = await self._greeting(connection)
            except Unreachable as failed:
                raise NoWay(self._unanswered(failed)) from failed
            ready.set_result(greeting)
            call = self._call
            if call is not None:
                await call.process.wait()

    def _unanswered(self, failed: Unreachable) -> Diagnosis:
        if isinstance(failed, NoWay):
            return failed.diagnosis
        sentence = f"{self.target.machine}: {failed}"
        return Diagnosis("run", sentence, "the run may be beginning or ending over there; try again in a moment")

    async def _greeting(self, connection: Connection) -> Greeting:
        """Raises Unreachable, NoWay for a far end that speaks otherwise."""
        hello, sent, began = pb.HelloRequest(version=VERSION), time.time(), time.monotonic()
        await connection.ask("/mlxd.Monitor/Hello", hello, pb.HelloReply, within_seconds=DIAL_SECONDS)
        sent, began = time.time(), time.monotonic()  # the first one paid for the connection
        reply = await connection.ask("/mlxd.Monitor/Hello", hello, pb.HelloReply, within_seconds=HELLO_SECONDS)
        took = time.monotonic() - began
        if reply.protocol != PROTOCOL:
            raise NoWay(other_protocol(reply.version, reply.protocol, PROTOCOL, self.target))
        try:
            request, kind = control_pb2.StatusRequest(), control_pb2.RunStatus
            await connection.ask("/mlxd.Control/Status", request, kind, within_seconds=HELLO_SECONDS)
            why_not = ""
        except Unreachable as refused:
            why_not = str(refused)
        offset = reply.wall_seconds - (sent + took / 2)
        return Greeting(reply.version, reply.folder, offset, took, not why_not, why_not)

    async def _hang_up(self) -> None:
        call, self._call = self._call, None
        if self._held is not None:
            self._held.cancel()
            await asyncio.gather(self._held, return_exceptions=True)
            self._held = None
        if call is not None:
            await _ended(call)


class _Counted:
    """ssh's output, and how much of it."""

    def __init__(self, source: asyncio.StreamReader, line: Line) -> None:
        self._source, self._line = source, line

    async def read(self, n: int = -1, /) -> bytes:
        data = await self._source.read(n)
        self._line.received_bytes += len(data)
        return data


async def _ended(call: _Call) -> None:
    """ssh and its proxies are gone."""
    if call.process.stdin is not None:
        call.process.stdin.close()
    with suppress(ProcessLookupError):
        call.process.terminate()
    with suppress(TimeoutError):
        async with asyncio.timeout(5.0):
            await call.process.wait()
    if call.process.returncode is None:
        with suppress(ProcessLookupError):
            call.process.kill()
        await call.process.wait()
    call.errors.cancel()
    await asyncio.gather(call.errors, return_exceptions=True)
