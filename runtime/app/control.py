"""The run's control socket: status, stop, workers, the monitor, and actions that are proposed before they are done.

Served by the root, which decides nothing itself. The socket is `control.sock` in the run's folder (see `socket_place`).
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio
from mlxd_wire import control_pb2 as pb

from runtime import events as facts
from runtime.actors import Context
from runtime.app.crew import Crew, Refusal
from runtime.app.monitoring import Monitoring
from runtime.app.register import registered
from runtime.app.root import Root
from runtime.app.socket_place import socket_place
from runtime.app.status import status_of
from runtime.app.steering import Steering
from runtime.errors import ActorDown, GaveUp, RunError
from runtime.events import RunState
from runtime.ids import ActorPath, Rank
from runtime.rpc import Call, GrpcNetwork, Service, UnaryMethod
from runtime.rpc.addresses import UNIX

SOCKET_NAME = "control.sock"


class Control:
    """An actor that answers on the control socket. Where there can be none, the run goes on without, and says so."""

    def __init__(self, root: Root, crew: Crew, state: Callable[[], RunState], run_folder: Path) -> None:
        self._root, self._crew, self._state, self._run_folder = root, crew, state, run_folder
        self._monitoring = Monitoring(root, run_folder)
        self._steering = Steering(root, crew, state)

    async def __call__(self, ctx: Context[None]) -> None:
        """Serve until asked to stop."""
        ctx.ready()
        try:
            with socket_place(self._run_folder, SOCKET_NAME) as path, registered(self._run_folder):
                async with GrpcNetwork.open() as network:
                    async with network.serve([self.service], f"{UNIX}{path}", name="control"):
                        path.chmod(0o600)
                        await ctx.stopping.wait()
        except (RunError, OSError) as problem:
            text = f"{self._run_folder / SOCKET_NAME} cannot be served: {problem}"
            fix = "the run goes on; steer it with `kill -INT` on its process"
            self._root.bus.publish(facts.Warned("control", text, fix), ActorPath("run/control"))
            await ctx.stopping.wait()

    @property
    def service(self) -> Service:
        """What is served."""
        return Service(
            "mlxd.Control",
            {
                "Status": UnaryMethod(pb.StatusRequest, self._status),
                "Stop": UnaryMethod(pb.StopRequest, self._stop),
                "AddWorker": UnaryMethod(pb.AddWorkerRequest, self._add),
                "RemoveWorker": UnaryMethod(pb.RemoveWorkerRequest, self._remove),
                "OpenMonitor": UnaryMethod(pb.OpenMonitorRequest, self._open_monitor),
                "Propose": UnaryMethod(pb.Action, self._propose),
                "Commit": UnaryMethod(pb.CommitRequest, self._commit),
            },
        )

    async def _status(self, request: pb.StatusRequest, call: Call) -> pb.RunStatus:
        return status_of(self._state(), self._crew.ranks, os.getpid())

    async def _stop(self, request: pb.StopRequest, call: Call) -> pb.StopReply:
        if self._root.ask_stop(request.by or "the control socket"):
            return pb.StopReply()
        return pb.StopReply(refusal="the coordinator is being restarted and hears nothing; try again in a second")

    async def _add(self, request: pb.AddWorkerRequest, call: Call) -> pb.WorkersReply:
        return await self._changed(lambda: self._crew.add(request.by or "the control socket"))

    async def _remove(self, request: pb.RemoveWorkerRequest, call: Call) -> pb.WorkersReply:
        rank = Rank(request.rank) if request.HasField("rank") else None
        return await self._changed(lambda: self._crew.remove(request.by or "the control socket", rank))

    async def _open_monitor(self, request: pb.OpenMonitorRequest, call: Call) -> pb.OpenMonitorReply:
        try:
            with trio.CancelScope(shield=True):  # bounded by its start; the next one who asks wants it too
                address = await self._monitoring.open()
        except (Refusal, GaveUp) as refused:
            return pb.OpenMonitorReply(refusal=str(refused))
        return pb.OpenMonitorReply(address=address)

    async def _propose(self, request: pb.Action, call: Call) -> pb.Ticket:
        try:
            return self._steering.propose(request, trio.current_time())
        except Refusal as refused:
            return pb.Ticket(refusal=str(refused))

    async def _commit(self, request: pb.CommitRequest, call: Call) -> pb.CommitReply:
        try:
            with trio.CancelScope(shield=True):  # bounded by the children's own times; half a change helps nobody
                done = await self._steering.commit(request.id, trio.current_time())
        except (Refusal, GaveUp, ActorDown) as refused:
            return pb.CommitReply(refusal=str(refused))
        return pb.CommitReply(done=done)

    async def _changed(self, change: Callable[[], Awaitable[Rank]]) -> pb.WorkersReply:
        try:
            with trio.CancelScope(shield=True):  # bounded by the child's own times; half a change helps nobody
                rank = await change()
        except (Refusal, GaveUp) as refused:
            return pb.WorkersReply(ranks=self._crew.ranks, refusal=str(refused))
        return pb.WorkersReply(rank=rank, ranks=self._crew.ranks)
