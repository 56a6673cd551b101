"""The data port of one rank: where its peers' lanes arrive, and its own lanes to them, whatever they carry.

port = Port("127.0.0.1:0", traffic, secrets.randbits(64), {}, advertise="", shared_memory=True, message_bytes=1 << 20)
port.set_members({rank: Address.parse(text), ...})
port.reach([Rank(1)])                               # before anything is sent to, or awaited from, that rank
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping

from runtime.collectives.carrier import Carried
from runtime.collectives.frame import Address, Hello
from runtime.collectives.lane import Lane, LaneSettings
from runtime.collectives.lane_grpc import GrpcServer
from runtime.collectives.lane_shm import ShmListener, Slots
from runtime.ids import Rank

MESSAGE_BYTES = 1 << 20
LANE_SLOTS = 6
LINGER_SECONDS = 1.0
"""How long `close` lets a peer take what this rank sent last."""
Answer = Callable[[bytes], bytes]


class Port:
    """Whoever opened it calls `finish` and then `close`; `reach` and `kick` may come from any thread."""

    def __init__(
        self, listen: str, carried: Carried, session: int, methods: Mapping[str, Answer], *, advertise: str,
        shared_memory: bool, message_bytes: int,
    ) -> None:  # fmt: skip
        """Listens on `host:port` (port 0: any free one), with these further unary methods; raises RunError when it
        cannot, OSError when there is no room for the shared-memory lane's socket."""
        self._carried, self._session = carried, session
        self._settings = LaneSettings(Slots(LANE_SLOTS, message_bytes), shared_memory)
        self._lock = threading.Lock()
        self._members: Mapping[Rank, Address] = {}
        self._lanes: dict[Rank, Lane] = {}
        self._server = GrpcServer(listen, carried, session, {"Offer": self._offer, **methods})
        try:
            self._listener = ShmListener(carried, session) if shared_memory else None
        except OSError:
            self._server.close()
            raise
        host = advertise or listen.rpartition(":")[0]
        self.address = str(Address(f"{host}:{self._server.port}", session))
        """What members are told: the session in it is the key to this port."""

    def set_members(self, members: Mapping[Rank, Address]) -> None:
        """Lanes to members that stay where they are are kept, lanes to others are closed."""
        with self._lock:
            self._members = members
            gone = [lane for rank, lane in self._lanes.items() if members.get(rank) != lane.address]
            self._lanes = {rank: lane for rank, lane in self._lanes.items() if members.get(rank) == lane.address}
        for lane in gone:
            lane.close()

    def reach(self, peers: Iterable[Rank]) -> None:
        """A lane to each of them, also where nothing is sent: its end is how a death is noticed. A rank that has just
        left the members gets none: whoever waits for it is told by those who keep the generations."""
        with self._lock:
            for peer in peers:
                lane, address = self._lanes.get(peer), self._members.get(peer)
                if address is not None and (lane is None or not lane.alive):
                    self._lanes[peer] = Lane(self._carried, peer, address, self._session, self._settings)

    def kick(self, peer: Rank) -> None:
        """There may be a message to take for that rank."""
        lane = self._lanes.get(peer)
        if lane is not None:
            lane.kick()

    @property
    def lanes(self) -> Mapping[Rank, Lane]:
        """Those that are open now, or about to be, or have ended and were not needed since."""
        with self._lock:
            return dict(self._lanes)

    @property
    def kinds(self) -> dict[Rank, str]:
        """What carries this rank's messages to each peer: `shared memory`, `grpc`, `opening` or `closed`."""
        return {rank: lane.kind for rank, lane in self.lanes.items()}

    def finish(self) -> None:
        """Nothing follows what is in the lanes now; none is opened any more."""
        with self._lock:
            self._members = {}
        for lane in self.lanes.values():
            lane.finish()

    def close(self) -> None:
        """Let peers take what was sent last, for LINGER_SECONDS; then join all threads, give back all descriptors."""
        with self._lock:
            lanes, self._lanes, self._members = list(self._lanes.values()), {}, {}
        for lane in lanes:
            lane.close(LINGER_SECONDS)
        if self._listener is not None:
            self._listener.close()
        self._server.close()

    def _offer(self, request: bytes) -> bytes:
        Hello.unpack(request).check(self._carried.run, self._session)
        return b"" if self._listener is None else self._listener.path.encode()
