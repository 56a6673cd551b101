"""Between the lanes and the exchange: decides for every message whether it is stale, due, or early.

Stale messages (of a generation or step that is over) are discarded and counted. Early ones (a faster peer is already
in the next exchange) wait in their lane: the receiving thread blocks, the lane's slots stay taken, and the sender
stops. So at most a lane's slots are ever buffered, and nothing of the exchange before can be stuck behind, because a
lane keeps its order and a peer begins an exchange only after it sent everything of the one before.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from runtime.collectives.codec import Bytes
from runtime.collectives.fold import Release
from runtime.collectives.frame import HEADER_BYTES, Header, Hello
from runtime.collectives.reduction import Outgoing, Reduction
from runtime.errors import Aborted, StaleGeneration
from runtime.ids import Generation, Rank


@dataclass(frozen=True)
class Stats:
    """Counters since the peer was opened; bytes include the headers."""

    sent_bytes: int = 0
    received_bytes: int = 0
    stale_messages: int = 0
    exchanges: int = 0
    exchange_seconds: float = 0.0


class Traffic:
    """One per peer; every method may be called from any thread."""

    def __init__(self, run: int, rank: Rank) -> None:
        self.run, self.rank = run, rank
        self._changed = threading.Condition()
        self._current: Reduction | None = None
        self._over: tuple[float, float] = (-1, math.inf)
        """Every exchange whose key is not greater is stale."""
        self._generation = Generation(-1)
        self._sessions: dict[Rank, int] = {}
        self._incoming: Counter[int] = Counter()
        """Open lanes from each life of a peer."""
        self._closed = False
        self._sent_bytes = self._received_bytes = self._stale_messages = self._exchanges = 0
        self._exchange_seconds = 0.0

    def set_members(self, generation: Generation, sessions: Mapping[Rank, int]) -> None:
        """From now on only this membership counts; whatever older generations still do is aborted."""
        with self._changed:
            if generation < self._generation:
                raise StaleGeneration(f"generation {generation} is older than {self._generation}")
            self._generation = generation
            self._sessions = dict(sessions)
        if generation > 0:
            self.abort(Generation(generation - 1))

    def abort(self, generation: Generation) -> None:
        """End the running exchange of `generation` or an older one, and refuse their messages for ever."""
        self._end((generation, math.inf), f"generation {generation} was aborted")

    def cancel(self, key: tuple[int, int]) -> None:
        """End one exchange (and those before it), but not its generation."""
        self._end(key, f"the exchange of step {key[1] // 2} was cancelled")

    def close(self) -> None:
        """Refuse everything from now on and wake every waiting thread."""
        with self._changed:
            self._closed = True
        self._end((math.inf, math.inf), "the peer was closed")

    def start(self, reduction: Reduction) -> None:
        """Make `reduction` the running exchange; raises Aborted if it was ended before it began."""
        plan = reduction.plan
        with self._changed:
            if self._current is not None:
                raise RuntimeError(f"the exchange of step {self._current.plan.step} still runs; one at a time")
            if reduction.key <= self._over or plan.generation < self._generation:
                raise Aborted(f"step {plan.step} of generation {plan.generation} is over")
            if plan.generation > self._generation:
                raise StaleGeneration(f"generation {plan.generation} has no members yet: set_members comes first")
            if missing := [peer for peer in reduction.peers if peer not in self._sessions]:
                raise StaleGeneration(f"ranks {missing} are not members of generation {self._generation}")
            self._current = reduction
            self._changed.notify_all()

    def finish(self, reduction: Reduction, seconds: float) -> None:
        """The exchange is over, well or badly: what is left of it in the lanes is stale."""
        with self._changed:
            self._current = None
            self._over = max(self._over, reduction.key)
            self._exchanges += 1
            self._exchange_seconds += seconds
            self._changed.notify_all()

    def take(self, peer: Rank) -> Outgoing | None:
        """The next message for `peer`, if the running exchange has one now."""
        current = self._current
        outgoing = current.take(peer) if current is not None else None
        if outgoing is not None:
            with self._changed:
                self._sent_bytes += HEADER_BYTES + outgoing.payload_bytes
        return outgoing

    def deliver(self, hello: Hello, header: Header, payload: Bytes, release: Release) -> None:
        """Hand a message to its exchange; blocks while it is early; `release` is called once in any case."""
        with self._changed:
            self._received_bytes += HEADER_BYTES + payload.size
            self._changed.wait_for(lambda: self._is_stale(hello, header) or self._is_due(header))
            current = None if self._is_stale(hello, header) else self._current
        if current is None:
            release()
        if current is None or not current.deliver(hello.rank, header, payload, release):
            with self._changed:
                self._stale_messages += 1

    def opened(self, hello: Hello) -> None:
        """A lane from a peer is open; `incoming_lost` must follow when it is over."""
        with self._changed:
            self._incoming[hello.session] += 1

    def incoming_lost(self, hello: Hello) -> None:
        """A lane from a peer is over; all that it carried was delivered before."""
        with self._changed:
            self._incoming[hello.session] -= 1
        self._lost(hello.rank, hello.session, outgoing=False)

    def outgoing_lost(self, rank: Rank, session: int) -> None:
        """The lane to that life of `rank` is over.

        A lane from it may still hold messages that came before its end, so its own end decides about those; but
        where there is none, there is nothing to wait for.
        """
        self._lost(rank, session, outgoing=True)

    def _lost(self, rank: Rank, session: int, *, outgoing: bool) -> None:
        with self._changed:
            current = self._current if self._sessions.get(rank) == session else None
            incoming = not self._incoming[session]
        if current is not None:
            current.lost(rank, incoming=incoming, outgoing=outgoing)

    def stats(self) -> Stats:
        """The counters at this moment."""
        with self._changed:
            return Stats(
                self._sent_bytes, self._received_bytes, self._stale_messages, self._exchanges, self._exchange_seconds
            )

    def _is_stale(self, hello: Hello, header: Header) -> bool:
        unknown = self._sessions.get(hello.rank) != hello.session
        return (
            self._closed
            or header.run != self.run
            or header.key <= self._over
            or (unknown and header.generation <= self._generation)
        )

    def _is_due(self, header: Header) -> bool:
        return self._current is not None and self._current.key == header.key

    def _end(self, key: tuple[float, float], why: str) -> None:
        with self._changed:
            self._over = max(self._over, key)
            current = self._current
            self._changed.notify_all()
        if current is not None and current.key <= key:
            current.fail(Aborted(why))
