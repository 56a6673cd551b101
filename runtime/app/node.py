"""The node agent: what a run starts on another machine, over ssh, to have a worker there.

stdin and stdout are frames (`runtime.actors.frames`), stderr is the log. The first order says which worker it is and
how the run is configured; the agent starts that worker as its child, passes frames both ways, and ends with the
worker's exit code. It is tied to the run as every process is: when stdin ends, or when nothing has come for a while
(a cable that was pulled out says nothing), its worker is killed and it goes. The worker in turn is tethered to it.
"""

from __future__ import annotations

import importlib.metadata
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import trio

from runtime import launch
from runtime.actors.exit import ProcessExit, root_cause
from runtime.actors.frames import Frame, FrameDecoder, FrameError, Order, Report
from runtime.actors.outbox import Outbox
from runtime.actors.process import signal_name
from runtime.actors.spawn import Spawned, spawn
from runtime.app.run_folder import CONFIG_NAME, FOLDERS
from runtime.app.words import ALIVE, BEGIN, NODE
from runtime.cluster import ssh
from runtime.config.load import load_config
from runtime.config.private_folder import private_folder
from runtime.config.save import dumps
from runtime.errors import ActorDown, ProtocolError

SILENT_SECONDS = 30.0
"""A run that has said nothing for so long is gone, or cannot be reached, which is the same."""
GONE = 255
"""This agent's exit code when the run is gone; nobody hears it."""
_LAST_SECONDS = 5.0
_READ_BYTES = 65536


class Node:
    """Belongs to the agent's trio thread. `serve` is its life."""

    def __init__(
        self,
        orders: trio.abc.ReceiveStream,
        out: Outbox,
        address: str,
        *,
        silent_seconds: float = SILENT_SECONDS,
    ) -> None:
        """`address` is where the run's other machines reach this one; a run that is silent for so long is gone."""
        self._orders, self._out, self._address, self._silent_seconds = orders, out, address, silent_seconds
        self._decoder = FrameDecoder()
        self._heard: list[Order] = []
        """Orders that arrived and were not taken yet."""

    async def serve(self) -> int:
        """Be the agent of one worker; returns the exit code.

        Raises ProtocolError where no run speaks, ConfigError where the run's configuration is none here, RunError where
        there is no place for the worker's files.
        """
        try:
            return await self._serve()
        except BaseExceptionGroup as group:
            raise root_cause(group) from group

    async def _serve(self) -> int:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._out.run)
            about = {
                "version": importlib.metadata.version("mlx-distributed"),
                "host": socket.gethostname(),
                "address": self._address,
                "pid": os.getpid(),
            }
            with suppress(ActorDown):
                self._out.put(Report(NODE, about))
            begin = await self._next()
            code = GONE if begin is None else await self._begun(begin)
            nursery.cancel_scope.cancel()
        return code

    async def _begun(self, begin: Order) -> int:
        if begin.kind != BEGIN:
            raise ProtocolError(f"the first order must be {BEGIN}, not {begin.kind}")
        with tempfile.TemporaryDirectory(dir=private_folder(), prefix="node-") as place:
            folder = Path(place)
            env = prepare(folder, str(begin.body["config"]), self._address)
            words = ("--rank", str(begin.body["rank"]), "--run-folder", place, "--workers-here", "1", "--away")
            argv = launch.command("runtime.app.worker", *words)
            try:
                child = await spawn(argv, env, None, int(begin.body["incarnation"]))
            except ProcessExit as failed:
                print(f"error: {failed}", file=sys.stderr, flush=True)
                return 1
            return await self._with(child)

    async def _with(self, child: Spawned) -> int:
        """Pass on what both sides say, until either ends; the worker is gone then."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(child.orders.run)
                nursery.start_soon(self._pass_orders, child, nursery.cancel_scope)
                async with trio.open_nursery() as output:
                    output.start_soon(_pass_output, child)
                    await self._pass_frames(child)
                with trio.move_on_after(_LAST_SECONDS):
                    await child.process.wait()
                    with suppress(ActorDown):
                        await self._out.flush()
                nursery.cancel_scope.cancel()
        finally:
            await _clear_away(child)
        return exit_code(child.process.returncode or 0) if child.process.returncode is not None else GONE

    async def _pass_orders(self, child: Spawned, scope: trio.CancelScope) -> None:
        """What the run wants of the worker. Ends everything when the run is gone."""
        while (order := await self._next()) is not None:
            if order.kind == ALIVE:
                continue
            with suppress(ActorDown):  # the worker closed its end; what became of it is for waitpid to say
                child.orders.put(order)
        scope.cancel()

    async def _pass_frames(self, child: Spawned) -> None:
        async with child.reading:
            while chunk := await child.frames.receive_some(_READ_BYTES):
                for frame in child.decoder.feed(chunk):
                    with suppress(ActorDown):  # the run is gone: the end of stdin says so
                        self._out.put(frame)

    async def _next(self) -> Order | None:
        """The next order; None when the run has gone, or has been silent for too long."""
        while not self._heard:
            chunk: bytes | bytearray = b""
            with trio.move_on_after(self._silent_seconds), suppress(trio.BrokenResourceError):
                chunk = await self._orders.receive_some(_READ_BYTES)
            if not chunk:
                return None
            self._heard += map(_order, self._decoder.feed(bytes(chunk)))
        return self._heard.pop(0)


def prepare(folder: Path, config_toml: str, address: str) -> Mapping[str, str]:
    """Make a run's folder with that configuration, listening at `address`; returns the environment that it asks for.

    Raises ConfigError where this version does not accept it.
    """
    for name in FOLDERS:
        (folder / name).mkdir()
    path = folder / CONFIG_NAME
    path.write_text(config_toml, encoding="utf-8")
    config = load_config(path)
    cluster = config.cluster.model_copy(update={"listen": f"{address}:0"})
    path.write_text(dumps(config.model_copy(update={"cluster": cluster})), encoding="utf-8")
    return config.cluster.env


def exit_code(code: int) -> int:
    """What a shell would make of a worker's end; what happened is said on stderr."""
    if code < 0:
        print(f"the worker was killed by {signal_name(-code)}", file=sys.stderr, flush=True)
        return 128 - code
    return code


def _order(frame: Frame) -> Order:
    if not isinstance(frame, Order):
        raise FrameError(f"a run sends orders only, not {type(frame).__name__}")
    return frame


async def _pass_output(child: Spawned) -> None:
    """In a thread: where nobody reads the log, the silence of the run must still be noticed."""
    while chunk := await child.output.receive_some(_READ_BYTES):
        await trio.to_thread.run_sync(_write, bytes(chunk), abandon_on_cancel=True)


def _write(chunk: bytes) -> None:
    with suppress(OSError):  # nobody is left who reads it
        while chunk:
            chunk = chunk[os.write(2, chunk) :]


async def _clear_away(child: Spawned) -> None:
    child.signal_group(signal.SIGKILL)
    with trio.move_on_after(_LAST_SECONDS, shield=True):
        await child.process.wait()
    await child.close()


async def _served() -> int:
    frames = os.dup(1)
    os.dup2(2, 1)  # whoever prints by mistake talks to stderr
    async with trio.lowlevel.FdStream(os.dup(0)) as orders:
        return await Node(orders, Outbox(frames), ssh.own_address()).serve()


def run_node() -> int:
    """Be a node agent on this process's stdin and stdout; returns the exit code. Raises as `Node.serve` does."""
    return trio.run(_served)
