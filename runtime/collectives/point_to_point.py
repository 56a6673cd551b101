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
from collections.abc import Mapping

from runtime.collectives.codec import Bytes
from runtime.collectives.direct import Direct, Tag
from runtime.collectives.frame import Address, run_hash
from runtime.collectives.port import MESSAGE_BYTES, Port
from runtime.ids import Generation, Rank, RunId


class PointToPoint:
    """Sends to and receives from the other members of a run. Make one with `open`; `close` it when the worker ends."""

    def __init__(
        self, listen: str, run: RunId, rank: Rank, *, advertise: str, shared_memory: bool, message_bytes: int
    ) -> None:
        self.rank = rank
        self._direct = Direct(run_hash(run), rank, piece_bytes=message_bytes, kick=self._kick)
        self._port = Port(
            listen, self._direct, secrets.randbits(64), {}, advertise=advertise, shared_memory=shared_memory,
            message_bytes=message_bytes,
        )  # fmt: skip
        self.address = self._port.address

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
        self._port.set_members(addresses)

    def send(self, to: Rank, tag: Tag, data: Bytes, *, capacity: int, within_seconds: float) -> None:
        """See Direct.send."""
        self._port.reach([to])
        self._direct.send(to, tag, data, capacity=capacity, within_seconds=within_seconds)

    def receive(self, source: Rank, tag: Tag, *, within_seconds: float) -> Bytes:
        """See Direct.receive."""
        self._port.reach([source])  # it says what was taken, and its end is how a death is noticed
        return self._direct.receive(source, tag, within_seconds=within_seconds)

    def abort(self, generation: Generation) -> None:
        """End what `generation` or an older one sends or waits for, at once, and refuse it from now on; any thread."""
        self._direct.abort(generation)

    @property
    def lanes(self) -> dict[Rank, str]:
        """What carries this rank's messages to each peer: `shared memory`, `grpc`, `opening` or `closed`."""
        return self._port.kinds

    def close(self) -> None:
        """End everything: whoever waits gets Aborted; all threads are joined, all descriptors given back."""
        self._port.finish()
        self._direct.close()
        self._port.close()

    def _kick(self, peer: Rank) -> None:
        self._port.kick(peer)
