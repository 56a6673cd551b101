"""Entry of a link's process: one worker on another machine, which its supervisor treats as any child of its own.

It calls the node agent over there (`runtime.app.node`) through ssh and passes frames both ways, so restarts, backoff,
hang detection and the log are those of every worker. Whoever kills this process kills ssh, and the agent, which hears
nothing any more, ends its worker. A worker that ends over there ends this process with the same exit code. A machine
that is away is called again and again, which costs no restart: only at the start of a run is that an error, because
somebody is there to mend it.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import shlex
import subprocess
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

import trio

from runtime.actors.child import Parent, Pipes, attached
from runtime.actors.frames import STOP, Beat, Fact, Frame, FrameDecoder, FrameError, Order, Report
from runtime.actors.outbox import Outbox
from runtime.app.exits import CANNOT_START, FAILED, leave
from runtime.app.words import ALIVE, BEGIN, NODE
from runtime.cluster import ssh
from runtime.errors import ActorDown

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
ALIVE_SECONDS = 2.0
"""How often the agent hears that it is still wanted; see `node.SILENT_SECONDS`."""
BEAT_SECONDS = 1.0
LAST_SECONDS = 5.0
"""How long an ssh that has said everything may take to end."""
USAGE = 2
"""An agent's exit code where the run's configuration is none over there."""
_READ_BYTES = 65536


class Link:
    """Belongs to the trio thread of its process. `run` returns this process's exit code."""

    def __init__(
        self,
        parent: Parent,
        host: str,
        command: tuple[str, ...],
        begin: Order,
        *,
        may_wait: bool,
        pause_seconds: float = FIRST_PAUSE_SECONDS,
    ) -> None:
        """`begin` is the first order to the agent; `may_wait` says whether the machine may be away for now, and
        `pause_seconds` how long it is left alone first (each time twice as long)."""
        self._parent, self._host, self._command, self._begin = parent, host, command, begin
        self._may_wait, self._pause_seconds = may_wait, pause_seconds
        self._told: dict[str, Order] = {}
        """The newest order of each kind: an agent that is called again is told anew."""
        self._out: Outbox | None = None
        self._is_up = False
        """Whether an agent has answered."""
        self._beats_itself = False
        """Whether the worker over there says where it is."""

    async def run(self) -> int:
        """Call until an agent has answered, and pass frames until its worker has ended."""
        pause = self._pause_seconds
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._obey)
            nursery.start_soon(self._beat)
            while True:
                code = await self._call()
                if self._is_up or self._parent.stopping.is_set() or not self._may_wait:
                    break
                _say(f"{self._host} cannot be reached (exit code {code} of ssh); it is called again in {pause:g} s")
                with trio.move_on_after(pause):
                    await self._parent.stopping.wait()
                pause = min(LONGEST_PAUSE_SECONDS, 2 * pause)
            nursery.cancel_scope.cancel()
        return self._verdict(code)

    def _verdict(self, code: int) -> int:
        if self._is_up and code != ssh.FAILED:
            return CANNOT_START if code == USAGE else code
        if self._parent.stopping.is_set():
            return 0
        if self._is_up:
            _say(f"error: the link to {self._host} broke; it is called again")
            return FAILED
        _say(f"error: no node agent answers on {self._host}: {_reason(code)}. Try: {shlex.join(self._command)}")
        return CANNOT_START

    async def _call(self) -> int:
        """One ssh, from its start to its exit code."""
        theirs, ours = os.pipe()
        try:
            process = await trio.lowlevel.open_process(self._command, stdin=theirs, stdout=subprocess.PIPE)
        except OSError as error:
            os.close(ours)
            _say(f"{self._command[0]} cannot be started: {error.strerror or error}")
            return ssh.FAILED
        finally:
            os.close(theirs)
        try:
            await self._talk(process, Outbox(ours))
            with trio.move_on_after(LAST_SECONDS):
                return await process.wait()
            return ssh.FAILED
        finally:
            await _ended(process)

    async def _talk(self, process: trio.Process, out: Outbox) -> None:
        assert process.stdout is not None  # it was asked for
        self._out = out
        try:
            for order in (self._begin, *self._told.values()):
                self._pass_order(order)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(out.run)
                nursery.start_soon(_keep_alive, out)
                await self._pass_on(process.stdout)
                nursery.cancel_scope.cancel()
        finally:
            self._out = None
            out.close()

    async def _pass_on(self, frames: trio.abc.ReceiveStream) -> None:
        """What the agent and its worker say, until they end."""
        decoder = FrameDecoder()
        try:
            while chunk := await frames.receive_some(_READ_BYTES):
                for frame in decoder.feed(bytes(chunk)):
                    self._take(frame)
        except FrameError as error:
            _say(f"{self._host} does not speak as a node agent ({error}); its shell's profile must print nothing")

    def _take(self, frame: Frame) -> None:
        match frame:
            case Report(kind=kind, body=body) if kind == NODE:
                theirs, ours = str(body.get("version")), importlib.metadata.version("mlx-distributed")
                if theirs != ours:
                    raise FrameError(f"it is version {theirs} and this is {ours}: install the same on both")
                self._is_up = True
                _say(f"the node agent on {body.get('host')} ({body.get('address')}) is process {body.get('pid')}")
            case Beat():
                self._beats_itself = True
                self._parent.beat(frame.step, frame.phase)
            case Fact():
                self._parent.fact(frame.event, frame.reports)
            case Report():
                self._parent.report(frame.kind, frame.body)
            case _:
                pass  # its Hello: we have said ours

    async def _obey(self) -> None:
        async for order in self._parent.orders:
            self._told[order.kind] = order
            self._pass_order(order)
        self._pass_order(Order(STOP))

    def _pass_order(self, order: Order) -> None:
        if self._out is not None:
            with suppress(ActorDown):  # ssh has just ended: `_call` sees it
                self._out.put(order)

    async def _beat(self) -> None:
        while not self._beats_itself:
            self._parent.beat(0, "start over there" if self._is_up else f"reach {self._host}")
            await trio.sleep(BEAT_SECONDS)


async def _keep_alive(out: Outbox) -> None:
    with suppress(ActorDown):
        while True:
            await trio.sleep(ALIVE_SECONDS)
            out.put(Order(ALIVE))


async def _ended(process: trio.Process) -> None:
    """However the call ended, its ssh is gone."""
    with trio.CancelScope(shield=True):
        if process.returncode is None:
            process.kill()
        await process.wait()
        if process.stdout is not None:
            await process.stdout.aclose()


def _reason(code: int) -> str:
    if code == ssh.FAILED:
        return "ssh could not come in, see above"
    if code == 127:
        return "the command is not there; cluster.remote_command says how it is called"
    return f"exit code {code}"


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


async def _work(pipes: Pipes, args: argparse.Namespace) -> None:
    command = ssh.node_command(shlex.split(args.ssh), args.host, args.remote_command)
    text = (args.run_folder / "config.toml").read_text(encoding="utf-8")
    begin = Order(BEGIN, {"rank": args.rank, "incarnation": pipes.incarnation, "config": text})
    async with attached(pipes, {"host": args.host, "rank": str(args.rank)}) as parent:
        code = await Link(parent, args.host, command, begin, may_wait=pipes.incarnation > 1).run()
    if code:
        sys.exit(code)


def main() -> None:
    """Be the worker on another machine until it has ended, or the parent wants it to stop."""
    parser = argparse.ArgumentParser(prog="link")
    parser.add_argument("--rank", type=int, required=True)
    parser.add_argument("--run-folder", type=Path, required=True)
    parser.add_argument("--host", required=True, help="[user@]host[:port]")
    parser.add_argument("--remote-command", required=True, help="what is mlx-distributed over there")
    parser.add_argument("--ssh", required=True, help="the ssh client, with options of its own")
    Pipes.add_arguments(parser)
    args = parser.parse_args()
    trio.run(partial(_work, Pipes.of(args), args))


if __name__ == "__main__":
    leave(main)
