"""The run's control socket: status, stop, more workers, fewer workers. Served by the root; it decides nothing itself.

The socket is `control.sock` in the run's folder. The path of a unix socket may have about a hundred bytes: where the
folder's is longer, the socket lies in a folder of its own under the temporary one, and `control.sock` is a link to it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import trio
from mlxd_wire import control_pb2 as pb

from runtime import events as facts
from runtime.actors import Context
from runtime.app.crew import Crew, Refusal
from runtime.app.root import Root
from runtime.errors import GaveUp, RunError
from runtime.events import RunState
from runtime.events.pace import step_seconds
from runtime.ids import ActorPath, Rank
from runtime.rpc import Call, GrpcNetwork, Service, UnaryMethod
from runtime.rpc.addresses import UNIX, UNIX_PATH_BYTES

SOCKET_NAME = "control.sock"


class Control:
    """An actor that answers on the control socket. Where there can be none, the run goes on without, and says so."""

    def __init__(self, root: Root, crew: Crew, state: Callable[[], RunState], run_folder: Path) -> None:
        self._root, self._crew, self._state, self._run_folder = root, crew, state, run_folder

    async def __call__(self, ctx: Context[None]) -> None:
        """Serve until asked to stop."""
        ctx.ready()
        try:
            with socket_place(self._run_folder) as path:
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
            },
        )

    async def _status(self, request: pb.StatusRequest, call: Call) -> pb.RunStatus:
        return status_of(self._state(), self._crew.ranks)

    async def _stop(self, request: pb.StopRequest, call: Call) -> pb.StopReply:
        if self._root.ask_stop(request.by or "the control socket"):
            return pb.StopReply()
        return pb.StopReply(refusal="the coordinator is being restarted and hears nothing; try again in a second")

    async def _add(self, request: pb.AddWorkerRequest, call: Call) -> pb.WorkersReply:
        return await self._changed(lambda: self._crew.add(request.by or "the control socket"))

    async def _remove(self, request: pb.RemoveWorkerRequest, call: Call) -> pb.WorkersReply:
        rank = Rank(request.rank) if request.HasField("rank") else None
        return await self._changed(lambda: self._crew.remove(request.by or "the control socket", rank))

    async def _changed(self, change: Callable[[], Awaitable[Rank]]) -> pb.WorkersReply:
        try:
            with trio.CancelScope(shield=True):  # bounded by the child's own times; half a change helps nobody
                rank = await change()
        except (Refusal, GaveUp) as refused:
            return pb.WorkersReply(ranks=self._crew.ranks, refusal=str(refused))
        return pb.WorkersReply(rank=rank, ranks=self._crew.ranks)


def status_of(state: RunState, ranks: list[Rank]) -> pb.RunStatus:
    """A run's state as the wire has it; `ranks` are the workers that there should be."""
    training, plan = state.training, state.plan
    workers = [
        pb.WorkerStatus(
            rank=rank,
            phase=row.phase if row else "",
            incarnation=row.incarnation if row else 0,
            pid=row.pid if row else 0,
            state_step=max(0, state.step_of(rank)),
        )
        for rank in ranks
        for row in (state.workers.get(rank),)
    ]
    return pb.RunStatus(
        name=plan.name if plan else "",
        status=state.status,
        step=training.step,
        last_step=plan.last_step if plan else 0,
        generation=state.generation,
        loss=training.last.loss if training.last else 0.0,
        step_seconds=step_seconds(state) or 0.0,
        cursor=training.cursor,
        workers=workers,
        spares=len(state.spares),
        restarts=state.restarts,
        root_pid=os.getpid(),
        began=state.started_seconds,
    )


@contextmanager
def socket_place(run_folder: Path) -> Iterator[Path]:
    """Where a run's socket is bound; afterwards nothing of it is left. Whoever calls this holds the run's lock."""
    named = run_folder.resolve() / SOCKET_NAME
    _remove(named)
    if len(os.fsencode(named)) <= UNIX_PATH_BYTES:
        try:
            yield named
        finally:
            _remove(named)
        return
    folder = Path(tempfile.mkdtemp(prefix="mlxd-control-"))
    named.symlink_to(folder / SOCKET_NAME)
    try:
        yield folder / SOCKET_NAME
    finally:
        _remove(named)
        shutil.rmtree(folder, ignore_errors=True)


def _remove(named: Path) -> None:
    if named.is_symlink() and named.readlink().parent.name.startswith("mlxd-control-"):
        shutil.rmtree(named.readlink().parent, ignore_errors=True)  # of a root that was killed
    named.unlink(missing_ok=True)
