"""A worker's end of its session with the coordinator."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mlxd_wire import cluster_pb2 as pb

from runtime.cluster.messages import FromWorker, Join, ToWorker
from runtime.cluster.wire import from_worker_to_wire, to_worker_of_wire
from runtime.errors import PeerLost
from runtime.rpc import Channel, ClientStream

PATH = "/mlxd.Cluster/Session"


class Session:
    """An open session: `say` speaks, `hear` listens. Both raise PeerLost when the coordinator is gone."""

    def __init__(self, stream: ClientStream[pb.FromWorker, pb.ToWorker]) -> None:
        self._stream = stream

    async def say(self, message: FromWorker) -> None:
        """Send one message, in order."""
        await self._stream.send(from_worker_to_wire(message))

    async def hear(self) -> ToWorker:
        """The coordinator's next message."""
        wire = await self._stream.receive()
        if wire is None:
            raise PeerLost("the coordinator closed the session")
        return to_worker_of_wire(wire)

    def leave(self) -> None:
        """Say goodbye: what was said before still arrives."""
        self._stream.done_sending()


@asynccontextmanager
async def open_session(channel: Channel, join: Join) -> AsyncIterator[Session]:
    """Join the run; the session ends with the context."""
    async with channel.stream(PATH, pb.ToWorker) as stream:
        session = Session(stream)
        await session.say(join)
        yield session
