"""The coordinator as a service: sessions in, orders out. It decides nothing; `core` does.

Every message of every worker goes through one synchronous `feed`, so there is one order of events and no lock. A
worker that leaves sixty-four orders unread is not training: it loses its session.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio
from mlxd_wire import cluster_pb2 as pb

from runtime.cluster.core import Core
from runtime.cluster.messages import Join, Refused, ToWorker
from runtime.cluster.signals import (
    Close,
    Event,
    Finished,
    Joined,
    Left,
    PauseAsked,
    Publish,
    ResumeAsked,
    Said,
    SaveAsked,
    Send,
    StopAsked,
    Tick,
    WakeAt,
)
from runtime.cluster.wire import from_worker_of_wire, to_worker_to_wire
from runtime.errors import ProtocolError
from runtime.events import Event as Fact
from runtime.rpc import Call, Service, Stream, StreamMethod

OUTBOX = 64
WorkerStream = Stream[pb.ToWorker, pb.FromWorker]


@dataclass
class _Session:
    """One worker's open stream."""

    number: int
    outbox: trio.MemorySendChannel[ToWorker]
    scope: trio.CancelScope


class Coordinator:
    """Give `service` to a server and run `run` beside it; `stop` asks for an orderly end.

    `publish` takes every fact; no order leaves before `settled()` has returned, which it may do only when all facts
    published so far would survive this process: the journal never knows less than a worker. `ended` is called once,
    before any worker hears of it: a coordinator that dies while it says goodbye needs no successor.
    """

    def __init__(
        self,
        core: Core,
        run: str,
        publish: Callable[[Fact], None],
        settled: Callable[[], Awaitable[None]],
        ended: Callable[[Finished], None] = lambda _: None,
    ) -> None:
        self.core, self.run_name = core, run
        self._publish, self._settled, self._ended = publish, settled, ended
        self._sessions: dict[int, _Session] = {}
        self._opened = 0
        self._wake_at = float("inf")
        self._woken = trio.Event()
        self._outcome: Finished | None = None
        self._empty = trio.Event()

    @property
    def service(self) -> Service:
        """`mlxd.Cluster`, for a server of `runtime.rpc`."""
        return Service("mlxd.Cluster", {"Session": StreamMethod(pb.FromWorker, self._session)})

    def stop(self, by: str) -> None:
        """Finish the step, save, and end the run. `by` is a clause for a person."""
        self._feed(StopAsked(by))

    def pause(self, by: str) -> None:
        """Finish the step, and order no other before `resume`. `by` is a clause for a person."""
        self._feed(PauseAsked(by))

    def resume(self) -> None:
        """Go on after a pause."""
        self._feed(ResumeAsked())

    def save(self) -> None:
        """Have a checkpoint written at the next boundary."""
        self._feed(SaveAsked())

    async def run(self, *, goodbye_seconds: float = 10.0) -> Finished:
        """Serve until the run is over; then give the workers `goodbye_seconds` to close their sessions themselves."""
        self._feed(Tick())
        while self._outcome is None:
            with trio.move_on_at(self._wake_at):
                await self._woken.wait()
            self._woken = trio.Event()
            if trio.current_time() >= self._wake_at:
                self._wake_at = float("inf")
                self._feed(Tick())
        with trio.move_on_after(goodbye_seconds):
            while self._sessions:
                self._empty = trio.Event()
                await self._empty.wait()
        return self._outcome

    def _feed(self, event: Event) -> None:
        self._wake_at = float("inf")
        for action in self.core.feed(event, trio.current_time()):
            match action:
                case Publish(fact):
                    self._publish(fact)
                case Send(session, message):
                    self._tell(session, message)
                case Close(session) if session in self._sessions:
                    self._sessions[session].scope.cancel()
                case WakeAt(time):
                    self._wake_at = time
                case Finished():
                    self._outcome = action
                    self._ended(action)
        self._woken.set()

    def _tell(self, number: int, message: ToWorker) -> None:
        session = self._sessions.get(number)
        if session is None:
            return
        try:
            session.outbox.send_nowait(message)
        except (trio.WouldBlock, trio.BrokenResourceError):
            session.scope.cancel()

    async def _session(self, stream: WorkerStream, call: Call) -> None:
        del call
        first = await stream.receive()
        join = from_worker_of_wire(first) if first is not None else None
        if not isinstance(join, Join):
            raise ProtocolError("a session begins with Join")
        if join.run != self.run_name:
            await stream.send(to_worker_to_wire(Refused(f"this coordinator runs {self.run_name}, not {join.run}")))
            return
        self._opened += 1
        outbox, orders = trio.open_memory_channel[ToWorker](OUTBOX)
        session = _Session(self._opened, outbox, trio.CancelScope())
        self._sessions[session.number] = session
        reason = "its process or connection ended"
        try:
            with session.scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._deliver, stream, orders)
                    self._feed(Joined(session.number, join))
                    async for wire in stream:
                        self._feed(Said(session.number, from_worker_of_wire(wire)))
                    reason = "its session ended"
                    nursery.cancel_scope.cancel()
            if session.scope.cancelled_caught:
                reason = "the coordinator ended its session"
        finally:
            del self._sessions[session.number]
            self._feed(Left(session.number, reason))
            self._empty.set()

    async def _deliver(self, stream: WorkerStream, orders: trio.MemoryReceiveChannel[ToWorker]) -> None:
        async for message in orders:
            await self._settled()
            await stream.send(to_worker_to_wire(message))
