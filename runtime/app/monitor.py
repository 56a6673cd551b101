"""Entry of the monitor's process: `python -P -m runtime.app.monitor --run-folder ...`. Consoles look at the run here.

It reads the journal as it grows, hears from the root what is no fact (beats), measures this machine, and serves any
number of readers on monitor.sock. It is started by the first of them, so that a run that nobody looks at pays nothing.
It can do nothing to the run: it writes no file of it, and nobody waits for it. When it dies its supervisor starts it
again, it reads the journal anew, and its readers go on where they were.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import math
import os
import re
import time
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path

import trio
from mlxd_wire import control_pb2
from mlxd_wire import monitor_pb2 as pb

from runtime.actors.child import Parent, Pipes, attached
from runtime.app.exits import leave
from runtime.app.log import start_log
from runtime.app.socket_place import MONITOR_SOCKET, socket_place
from runtime.app.status import status_of
from runtime.app.watching.board import Board
from runtime.app.watching.reader import Reader
from runtime.app.watching.sampling import Sampler
from runtime.app.watching.wire import piece_of, points_of
from runtime.app.words import BEATS
from runtime.errors import ProtocolError
from runtime.events import RunState, fold
from runtime.events.fold import is_notable
from runtime.events.journal import encode_line
from runtime.events.replay import JournalReader
from runtime.rpc import Call, GrpcNetwork, Service, StreamMethod, UnaryMethod
from runtime.rpc.addresses import UNIX
from runtime.rpc.service import Stream
from runtime.view.build import view_of
from runtime.view.cards import RunView
from runtime.view.codec import cards_of
from runtime.view.gauges import Beat, Gauges
from runtime.view.logfiles import LogFiles
from runtime.view.logs import LEVELS, LogLine, Wanted
from runtime.view.metrics import chosen, history, names

PROTOCOL = 2
LOOK_SECONDS = 0.25
"""Readers share a look at the journal that is younger."""
IDLE_SECONDS = 1.0
"""Between two looks at the journal that nobody asks for."""
BEAT_SECONDS = 1.0
"""A reader hears something at least this often."""
_FACTS_AT_ONCE = 256
_MOST_LINES = 500
"""Lines of logs in one batch; of more at once the newest count."""
_NICE = 10


class Monitor:
    """What this process knows of the run, and the service that tells it. Belongs to the trio thread."""

    def __init__(self, run_folder: Path, epoch: int) -> None:
        self.folder = run_folder
        self.board = Board(epoch)
        self.state = RunState()
        self.beats: dict[int, Beat] = {}
        self._reader = JournalReader(run_folder / "events.jsonl")
        self._sampler = Sampler(run_folder)
        self._gauges = Gauges()
        self._view: RunView | None = None
        self._looked_at = -math.inf

    @property
    def service(self) -> Service:
        """What is served."""
        return Service(
            "mlxd.Monitor",
            {
                "Hello": UnaryMethod(pb.HelloRequest, self._hello),
                "Status": UnaryMethod(control_pb2.StatusRequest, self._status),
                "Watch": StreamMethod(pb.Want, self._watch),
                "History": UnaryMethod(pb.HistoryRequest, self._history),
                "Tail": StreamMethod(pb.LogWant, self._tail),
            },
        )

    async def look(self, seconds_old: float = 0.0) -> None:
        """Take in what is new in the journal, and show it, unless the last look is younger than so old: a reader never
        sees facts of which the rows know nothing, unless there are so many that others must have a turn meanwhile.

        Raises nothing where there is no journal yet, or a disk does not answer: the next look may find it."""
        if trio.current_time() - self._looked_at < seconds_old:
            return
        self._looked_at = trio.current_time()
        with suppress(OSError):
            while self._take_facts() == _FACTS_AT_ONCE:
                await trio.lowlevel.checkpoint()
            self.show(time.time())

    def show(self, now_seconds: float) -> None:
        """Put the present picture on the board."""
        if now_seconds - self._gauges.sampled_seconds >= BEAT_SECONDS:
            pids = [row.pid for row in self.state.workers.values() if row.pid]
            self._gauges = self._sampler.sample(pids, self.beats)
        self._view = view_of(self.state, now_seconds, self._gauges, folder=str(self.folder), before=self._view)
        self.board.show(cards_of(self._view))

    async def run(self) -> None:
        """Keep up with the journal until cancelled, however seldom or never the readers look."""
        while True:
            await self.look(LOOK_SECONDS)
            await trio.sleep(IDLE_SECONDS)

    def _take_facts(self) -> int:
        fresh = list(islice(self._reader, _FACTS_AT_ONCE))
        for envelope in fresh:
            self.state = fold(self.state, envelope)
            if is_notable(envelope):
                self.board.tell(envelope.seq, encode_line(envelope).rstrip())
        return len(fresh)

    async def _hello(self, request: pb.HelloRequest, call: Call) -> pb.HelloReply:
        return pb.HelloReply(
            version=importlib.metadata.version("mlx-distributed"),
            protocol=PROTOCOL,
            epoch=self.board.epoch,
            folder=str(self.folder.resolve()),
            wall_seconds=time.time(),
            metrics=names(self.state),
        )

    async def _status(self, request: control_pb2.StatusRequest, call: Call) -> control_pb2.RunStatus:
        ranks = sorted(rank for rank, row in self.state.workers.items() if row.phase != "leaving")
        return status_of(self.state, ranks, self.state.plan.pid if self.state.plan else 0)

    async def _history(self, request: pb.HistoryRequest, call: Call) -> pb.HistoryReply:
        most, last = points_of(request.max_points), request.last_step or None
        return pb.HistoryReply(
            pieces=[
                piece_of(
                    history(self.state, metric, first_step=request.first_step, last_step=last, most=most), is_whole=True
                )
                for metric in chosen(self.state, request.metrics)
            ]
        )

    async def _watch(self, stream: Stream[pb.Frame, pb.Want], call: Call) -> None:
        want = await stream.receive()
        if want is None:
            return
        await self.look()  # the first frame is of now
        reader = Reader(self.board, want)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._feed, stream, reader)
            async for changed in stream:
                reader.wants(changed)
            nursery.cancel_scope.cancel()

    async def _feed(self, stream: Stream[pb.Frame, pb.Want], reader: Reader) -> None:
        """Frames at the reader's own pace, together with readers of the same; a heartbeat where there is no news."""
        beat_at = news_at = began = trio.current_time()
        while True:
            if began >= news_at:
                await self.look(LOOK_SECONDS)
                frame = reader.next_frame(self.state, time.time())
            else:
                frame = reader.heartbeat(time.time())
            has_news = bool(frame.rows or frame.events or frame.pieces)
            if has_news or began >= beat_at:
                await stream.send(frame)
                beat_at = began + BEAT_SECONDS
            if began >= news_at:
                if has_news:
                    reader.took(trio.current_time() - began)
                news_at = next_turn(began, reader.interval_seconds)
            await trio.sleep_until(min(beat_at, news_at))
            began = trio.current_time()

    async def _tail(self, stream: Stream[pb.LogBatch, pb.LogWant], call: Call) -> None:
        want = await stream.receive()
        if want is None:
            return
        files = LogFiles(self.folder, wanted_of(want), dict(want.cursor))
        if want.newest and not want.cursor:
            await stream.send(batch_of(files.begin_with_newest(min(want.newest, _MOST_LINES)), files))
        while True:
            fresh = files.fresh()
            if fresh:
                await stream.send(batch_of(fresh, files))
            elif not want.follow:
                return
            else:
                await trio.sleep(LOOK_SECONDS)


def next_turn(now_seconds: float, interval_seconds: float) -> float:
    """The first whole multiple of the interval that lies more than half of one ahead; so all who have it meet there."""
    return (math.floor(now_seconds / interval_seconds + 0.5) + 1) * interval_seconds


def wanted_of(want: pb.LogWant) -> Wanted:
    """Which lines a reader asks for. Raises ProtocolError for a level or a pattern that is none."""
    level = want.level or LEVELS[0]
    if level not in LEVELS:
        raise ProtocolError(f"{level!r} is no level; there are {', '.join(LEVELS)}")
    try:
        pattern = re.compile(want.pattern) if want.pattern else None
    except re.error as wrong:
        raise ProtocolError(f"{want.pattern!r} is no regular expression: {wrong}") from wrong
    return Wanted(level, pattern, frozenset(want.sources))


def batch_of(lines: list[LogLine], files: LogFiles) -> pb.LogBatch:
    """The newest of these lines as a message, and where their reader is by now."""
    kept = lines[max(0, len(lines) - _MOST_LINES) :]
    entries = [
        pb.LogEntry(
            source=each.source, offset=each.offset_bytes, level=each.level, wall_seconds=each.seconds, text=each.text
        )
        for each in kept
    ]
    return pb.LogBatch(entries=entries, cursor=files.cursor, skipped=len(lines) - len(kept))


async def _hear(parent: Parent, monitor: Monitor, scope: trio.CancelScope) -> None:
    """Take the root's beats, until it wants this process to stop."""
    async for order in parent.orders:
        if order.kind == BEATS:
            monitor.beats = {int(rank): Beat(*beat) for rank, beat in order.body.items()}
    scope.cancel()


async def _work(pipes: Pipes, run_folder: Path) -> None:
    with suppress(OSError):  # a machine that forbids it
        os.nice(_NICE)
    start_log("info")
    monitor = Monitor(run_folder, time.time_ns())
    with socket_place(run_folder, MONITOR_SOCKET) as path:
        async with GrpcNetwork.open() as network:
            async with network.serve([monitor.service], f"{UNIX}{path}", name="monitor"):
                path.chmod(0o600)
                async with attached(pipes, {"what": "monitor"}) as parent, trio.open_nursery() as nursery:
                    nursery.start_soon(_hear, parent, monitor, nursery.cancel_scope)
                    await monitor.run()


def main() -> None:
    """Serve until the parent wants this process to stop."""
    parser = argparse.ArgumentParser(prog="monitor")
    parser.add_argument("--run-folder", type=Path, required=True)
    Pipes.add_arguments(parser)
    args = parser.parse_args()
    trio.run(partial(_work, Pipes.of(args), args.run_folder.resolve()))


if __name__ == "__main__":
    leave(main)
