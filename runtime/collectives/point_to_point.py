"""The door to direct messages between ranks: `send` and `receive` by tag, over the same lanes as the all-reduce.

    port = PointToPoint.open("127.0.0.1:0", RunId("demo"), Rank(0))
    port.set_members(generation, {rank: address, ...})
    port.send(Rank(1), tag, data, capacity=2, within_seconds=30)        # blocking calls, of any thread
    data = port.receive(Rank(1), tag, within_seconds=30)

It has a data port of its own: a stage talks to its neighbours here while other ranks sum with it over there, and
neither holds up the other. All threads end with `close`.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Mapping

from runtime.collectives.codec import Bytes
from runtime.collectives.direct import Direct, Tag
from runtime.collectives.frame import Address, Hello, run_hash
from runtime.collectives.lane import Lane, LaneSettings
from runtime.collectives.lane_grpc import GrpcServer
from runtime.collectives.lane_shm import ShmListener, Slots
from runtime.ids import Generation, Rank, RunId

MESSAGE_BYTES = 1 << 20
LANE_SLOTS = 6
LINGER_SECONDS = 1.0
"""How long `close` lets a peer take what this rank sent last."""


class PointToPoint:
    """Sends to and receives from the other members of a run. Make one with `open`; `close` it when the worker ends."""

    def __init__(
        self, listen: str, run: RunId, rank: Rank, *, advertise: str, shared_memory: bool, message_bytes: int
    ) -> None:
        self.rank = rank
        self._session = secrets.randbits(64)
        self._direct = Direct(run_hash(run), rank, piece_bytes=message_bytes, kick=self._kick)
        self._settings = LaneSettings(Slots(LANE_SLOTS, message_bytes), shared_memory)
        self._lock = threading.Lock()
        self._members: dict[Rank, Address] = {}
        self._lanes: dict[Rank, Lane] = {}
        self._server = GrpcServer(listen, self._direct, self._session, {"Offer": self._offer})
        try:
            self._listener = ShmListener(self._direct, self._session) if shared_memory else None
        except OSError:
            self._server.close()
            raise
        host = advertise or listen.rpartition(":")[0]
        self.address = str(Address(f"{host}:{self._server.port}", self._session))

    @staticmethod
    def open(
        listen: str,
        run: RunId,
        rank: Rank,
        *,
        advertise: str = "",
        shared_memory: bool = True,
        message_bytes: int = MESSAGE_BYTES,
    ) -> PointToPoint:
        """A port that listens on `host:port` (port 0: any free one); raises RunError when it cannot.

        All members must use the same message_bytes. The session in `address` is the key: tell members only.
        """
        return PointToPoint(
            listen, run, rank, advertise=advertise, shared_memory=shared_memory, message_bytes=message_bytes
        )

    def set_members(self, generation: Generation, members: Mapping[Rank, str]) -> None:
        """Adopt a membership (rank -> address). Whatever older generations send or wait for raises Aborted. Lanes to
        members that stay are kept. Raises StaleGeneration for an older generation, ValueError for a bad address."""
        addresses = {rank: Address.parse(text) for rank, text in members.items()}
        self._direct.set_members(generation, {rank: address.session for rank, address in addresses.items()})
        with self._lock:
            self._members = addresses
            gone = [lane for rank, lane in self._lanes.items() if addresses.get(rank) != lane.address]
            self._lanes = {rank: lane for rank, lane in self._lanes.items() if addresses.get(rank) == lane.address}
        for lane in gone:
            lane.close()

    def send(self, to: Rank, tag: Tag, data: Bytes, *, capacity: int, within_seconds: float) -> None:
        """See Direct.send."""
        self._reach(to)
        self._direct.send(to, tag, data, capacity=capacity, within_seconds=within_seconds)

    def receive(self, source: Rank, tag: Tag, *, within_seconds: float) -> Bytes:
        """See Direct.receive."""
        self._reach(source)
        return self._direct.receive(source, tag, within_seconds=within_seconds)

    def abort(self, generation: Generation) -> None:
        """End what `generation` or an older one sends or waits for, at once, and refuse it from now on; any thread."""
        self._direct.abort(generation)

    @property
    def lanes(self) -> dict[Rank, str]:
        """What carries this rank's messages to each peer: `shared memory`, `grpc`, `opening` or `closed`."""
        with self._lock:
            return {rank: lane.kind for rank, lane in self._lanes.items()}

    def close(self) -> None:
        """End everything: whoever waits gets Aborted; all threads are joined, all descriptors given back."""
        with self._lock:
            lanes, self._lanes, self._members = list(self._lanes.values()), {}, {}
        for lane in lanes:
            lane.finish()
        self._direct.close()
        for lane in lanes:
            lane.close(LINGER_SECONDS)
        if self._listener is not None:
            self._listener.close()
        self._server.close()

    def _reach(self, peer: Rank) -> None:
        """A lane to a peer that is waited for, too: what it took is reported there, and its end is how a death is
        noticed."""
        with self._lock:
            lane, address = self._lanes.get(peer), self._members.get(peer)
            if address is not None and (lane is None or not lane.alive):
                self._lanes[peer] = Lane(self._direct, peer, address, self._session, self._settings)

    def _kick(self, peer: Rank) -> None:
        lane = self._lanes.get(peer)
        if lane is not None:
            lane.kick()

    def _offer(self, request: bytes) -> bytes:
        Hello.unpack(request).check(self._direct.run, self._session)
        return b"" if self._listener is None else self._listener.path.encode()
