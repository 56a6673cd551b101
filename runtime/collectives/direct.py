"""Messages from one rank to another, by tag: activations and their gradients on their way through a pipeline.

It knows nothing of lanes: their threads pull what is to be sent with `take` and push what came with `deliver`. A
message is copied when it is sent, so that the device may go on, and lies here from its arrival until somebody asks for
it: it travels while both sides compute. A channel holds at most `capacity` messages that were sent and not yet taken;
each one that is taken is reported to its sender.
"""

from __future__ import annotations

import math
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from runtime.collectives.codec import Bytes, WireDtype
from runtime.collectives.exchange import Phase
from runtime.collectives.fold import Release
from runtime.collectives.frame import Header, Hello
from runtime.collectives.reduction import Outgoing, RankLost
from runtime.errors import Aborted, MlxdError, ProtocolError, StaleGeneration
from runtime.ids import Generation, Rank, Step

_NOTHING: Bytes = np.empty(0, np.uint8)


@dataclass(frozen=True)
class Tag:
    """Which message of a run this is; the same at both ends."""

    generation: Generation
    step: Step
    channel: int
    """Messages of one channel between two ranks share its room; 0 .. 2^32 - 1, as the number."""
    number: int


@dataclass
class _Arriving:
    """A message of which some pieces are here."""

    data: Bytes
    missing_bytes: int


class Direct:
    """The messages of one rank; every method may be called from any thread."""

    def __init__(self, run: int, rank: Rank, *, piece_bytes: int, kick: Callable[[Rank], None]) -> None:
        """A message is sent in pieces of `piece_bytes`; `kick` wakes the lane to a peer."""
        self.run, self.rank = run, rank
        self._piece_bytes, self._kick = piece_bytes, kick
        self._changed = threading.Condition()
        self._generation = Generation(-1)
        self._aborted: float = -1
        self._sessions: dict[Rank, int] = {}
        self._incoming: Counter[int] = Counter()
        """Open lanes from each life of a peer."""
        self._lost: set[Rank] = set()
        self._outbox: defaultdict[Rank, deque[Outgoing]] = defaultdict(deque)
        self._untaken: Counter[tuple[Rank, int]] = Counter()
        """Messages under way, by receiver and channel."""
        self._arrived: dict[tuple[Rank, Tag], _Arriving] = {}

    # ---- the side of those who send and receive

    def set_members(self, generation: Generation, sessions: Mapping[Rank, int]) -> None:
        """From now on only this membership counts; whatever belongs to older ones is dropped, whoever waits is told."""
        with self._changed:
            if generation < self._generation:
                raise StaleGeneration(f"generation {generation} is older than {self._generation}")
            if generation > self._generation:
                self._clear()
            self._generation, self._sessions = generation, dict(sessions)
            self._changed.notify_all()

    def abort(self, generation: float) -> None:
        """End whatever `generation` or an older one still sends or waits for, and refuse it from now on."""
        with self._changed:
            self._aborted = max(self._aborted, generation)
            if self._generation <= generation:
                self._clear()
            self._changed.notify_all()

    def close(self) -> None:
        """Refuse everything from now on and wake every waiting thread."""
        self.abort(math.inf)

    def send(self, to: Rank, tag: Tag, data: Bytes, *, capacity: int, within_seconds: float) -> None:
        """Copy `data` and hand it to the lane; waits while `capacity` messages of its channel are under way.

        Raises Aborted when the generation is over, RankLost when the receiver is gone or takes nothing in that time.
        """
        room = (to, tag.channel)
        with self._changed:
            self._await(to, tag, lambda: self._untaken[room] < capacity, within_seconds, "took nothing")
            self._untaken[room] += 1
            self._outbox[to].extend(self._pieces(tag, np.array(data)))
        self._kick(to)

    def receive(self, source: Rank, tag: Tag, *, within_seconds: float) -> Bytes:
        """The bytes that `source` sent under `tag`, which nobody else refers to. Raises as `send` does."""
        key = (source, tag)
        with self._changed:
            self._await(source, tag, lambda: self._is_here(key), within_seconds, "sent nothing")
            data = self._arrived.pop(key).data
            self._outbox[source].append(self._outgoing(Phase.DIRECT_TAKEN, tag, 0, 0, _NOTHING))
        self._kick(source)
        return data

    # ---- the side of the lanes: see Carried

    def take(self, peer: Rank) -> Outgoing | None:
        """See Carried."""
        with self._changed:
            waiting = self._outbox[peer]
            return waiting.popleft() if waiting else None

    def deliver(self, hello: Hello, header: Header, payload: Bytes, release: Release) -> None:
        """See Carried. A message of a generation that this rank does not know yet waits for it, and its lane too."""
        try:
            with self._changed:
                self._changed.wait_for(lambda: header.generation <= max(self._generation, self._aborted))
                if header.run == self.run and not self._is_stale(hello, header):
                    self._put(hello.rank, header, payload)
        finally:
            release()

    def opened(self, hello: Hello) -> None:
        """See Carried."""
        with self._changed:
            self._incoming[hello.session] += 1

    def incoming_lost(self, hello: Hello) -> None:
        """See Carried."""
        with self._changed:
            self._incoming[hello.session] -= 1
            if not self._incoming[hello.session]:
                self._lose(hello.rank, hello.session)

    def outgoing_lost(self, rank: Rank, session: int) -> None:
        """See Carried. What was under way may be lost, so the peer counts as lost whatever still comes from it."""
        with self._changed:
            self._lose(rank, session)

    # ---- with the lock held

    def _await(self, peer: Rank, tag: Tag, condition: Callable[[], bool], within_seconds: float, late: str) -> None:
        """Return when `condition` holds; a message that is here is handed out even if its sender is gone by now."""

        def over() -> MlxdError | None:
            if tag.generation <= self._aborted or tag.generation < self._generation:
                return Aborted(f"generation {tag.generation} was aborted")
            if tag.generation > self._generation or peer not in self._sessions:
                return StaleGeneration(f"rank {peer} is no member of generation {tag.generation}")
            if not condition() and peer in self._lost:
                return RankLost(f"rank {peer} is gone", peer)
            return None

        self._changed.wait_for(lambda: over() is not None or condition(), within_seconds)
        if (error := over()) is not None:
            raise error
        if not condition():
            raise RankLost(f"rank {peer} {late} in {within_seconds:g} s (step {tag.step})", peer)

    def _clear(self) -> None:
        self._outbox.clear()
        self._untaken.clear()
        self._arrived.clear()
        self._lost.clear()

    def _lose(self, rank: Rank, session: int) -> None:
        if self._sessions.get(rank) == session:
            self._lost.add(rank)
            self._changed.notify_all()

    def _is_stale(self, hello: Hello, header: Header) -> bool:
        unknown = self._sessions.get(hello.rank) != hello.session
        return unknown or header.generation < self._generation or header.generation <= self._aborted

    def _is_here(self, key: tuple[Rank, Tag]) -> bool:
        return key in self._arrived and not self._arrived[key].missing_bytes

    def _put(self, source: Rank, header: Header, payload: Bytes) -> None:
        tag = Tag(header.generation, header.step, header.term, header.piece)
        if header.phase is Phase.DIRECT_TAKEN:
            self._untaken[source, tag.channel] -= 1
        elif header.phase is Phase.DIRECT:
            message = self._arrived.get((source, tag))
            if message is None:
                message = _Arriving(np.empty(header.elements, np.uint8), header.elements)
                self._arrived[source, tag] = message
            if header.start + header.count > message.data.size or header.count > message.missing_bytes:
                raise ProtocolError(f"rank {source} sent more of a message than there is of it")
            message.data[header.start : header.start + header.count] = payload
            message.missing_bytes -= header.count
        else:
            raise ProtocolError(f"rank {source} sent a part of a sum where only direct messages are expected")
        self._changed.notify_all()

    def _pieces(self, tag: Tag, data: Bytes) -> list[Outgoing]:
        starts = range(0, max(data.size, 1), self._piece_bytes)
        return [
            self._outgoing(Phase.DIRECT, tag, data.size, start, data[start : start + self._piece_bytes])
            for start in starts
        ]

    def _outgoing(self, phase: Phase, tag: Tag, elements: int, start: int, piece: Bytes) -> Outgoing:
        header = Header(
            phase,
            WireDtype.RAW,
            tag.generation,
            tag.step,
            self.run,
            elements,
            tag.number,
            tag.channel,
            start,
            piece.size,
        )
        return Outgoing(header, (), piece, _nothing)


def _nothing() -> None:
    """Nobody waits for the copy that was sent."""
