"""A lane carries the messages from this rank to one peer. It is opened with the peer's first exchange.

The thread asks the peer's data port (gRPC) for an offer: a peer that can be reached through shared memory gets that
lane, any other a gRPC stream. When the connection breaks, the traffic is told and the lane is dead; the next
exchange opens a new one.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, Protocol

from runtime.collectives.carrier import Carried
from runtime.collectives.frame import Address, Hello
from runtime.collectives.lane_grpc import CONNECT_SECONDS, GrpcSender, channel_to, unary
from runtime.collectives.lane_shm import ShmSender, Slots
from runtime.errors import ProtocolError
from runtime.ids import Rank
from runtime.rpc.library import grpc


class Sender(Protocol):
    """What both kinds of lane have in common."""

    def run(self) -> None:
        """Carry messages until the connection ends."""

    def kick(self) -> None:
        """There may be a message to take."""

    def finish(self) -> None:
        """Nothing follows: let `run` return once everything is through."""

    def close(self) -> None:
        """Make `run` return at once. Any thread may call this and the two above."""

    def dispose(self) -> None:
        """Give back what the sender holds, after `run` has returned."""


@dataclass(frozen=True)
class LaneSettings:
    """How lanes to peers are built."""

    slots: Slots
    shared_memory: bool = True
    """False: never look for the shared-memory lane."""


class Lane:
    """One thread that connects to `peer` and then sends whatever the traffic has for it."""

    def __init__(self, traffic: Carried, peer: Rank, address: Address, session: int, settings: LaneSettings) -> None:
        self.peer, self.address = peer, address
        self.kind = "opening"
        """`shared memory` or `grpc` once it is open, `closed` at the end."""
        self._traffic, self._settings = traffic, settings
        self._hello = Hello(traffic.run, traffic.rank, session, address.session)
        self._lock = threading.Lock()
        self._sender: Sender | None = None
        self._offer: Any = None
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=f"lane-to-{peer}", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it carries messages or is about to."""
        return self.kind != "closed"

    def kick(self) -> None:
        """The traffic may have a message for the peer."""
        if self._sender is not None:
            self._sender.kick()

    def finish(self) -> None:
        """Say that nothing follows; the lane ends when the peer has taken what is under way."""
        sender = self._sender
        if sender is not None:
            sender.finish()

    def close(self, linger_seconds: float = 0.0) -> None:
        """Break the connection and join the thread; before that, give a `finish` so long to end it well."""
        self._thread.join(linger_seconds)
        with self._lock:
            self._closed = True
            offer, sender = self._offer, self._sender
        if offer is not None:
            offer.cancel()
        if sender is not None:
            sender.close()
        self._thread.join()

    def _run(self) -> None:
        channel = channel_to(self.address.target)
        try:
            path = self._ask(channel)
            if not (path and self._settings.shared_memory and self._by_shared_memory(path)):
                self._carry("grpc", GrpcSender(channel, self._hello, self.peer, self._traffic))
        except (OSError, ProtocolError, grpc.RpcError, grpc.FutureCancelledError):
            pass  # refused, broken or closed: in every case the lane is over, as said below
        finally:
            self.kind = "closed"
            self._traffic.outgoing_lost(self.peer, self.address.session)
            channel.close()

    def _by_shared_memory(self, path: str) -> bool:
        """Carry through shared memory until that ends; False if the path is not of this host."""
        sender = ShmSender(self._hello, self.peer, self._traffic, self._settings.slots)
        self._adopt(sender)
        try:
            sender.connect(path)
        except OSError:
            self._sender = None
            sender.dispose()
            return False
        self._carry("shared memory", sender)
        return True

    def _carry(self, kind: str, sender: Sender) -> None:
        self.kind = kind
        self._adopt(sender)
        sender.kick()  # for what came while there was nobody to kick
        try:
            sender.run()
        finally:
            self._sender = None
            sender.dispose()

    def _adopt(self, sender: Sender) -> None:
        """From now on `close` reaches this sender; if it was called before, it does so now."""
        with self._lock:
            self._sender = sender
            if self._closed:
                sender.close()

    def _ask(self, channel: Any) -> str:
        """The peer's unix socket, or nothing. Raises grpc.RpcError if the peer is not there or is another one."""
        offer = unary(channel, "Offer").future(self._hello.pack(), timeout=CONNECT_SECONDS)
        with self._lock:
            self._offer = offer
            if self._closed:
                offer.cancel()
        reply: bytes = offer.result()
        return reply.decode()
