"""One running all-reduce on one rank: what still has to be sent, what still has to come, and the sums in between.

It knows nothing of lanes. A lane's sending thread pulls `Outgoing` messages with `take`; a lane's receiving thread
pushes payloads with `deliver`. Nothing is queued but references into the caller's arrays, so no queue can overflow:
a lane that is slow simply pulls later, and a slow owner holds the lane's slots until it has added them.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from runtime.collectives.codec import Bytes, Floats, WireDtype, decode, encode
from runtime.collectives.exchange import Phase, Schedule, Term, Transfer
from runtime.collectives.fold import Fold, Release, Scratch
from runtime.collectives.frame import Header
from runtime.collectives.scatter import ScatterSchedule
from runtime.collectives.spread import SpreadSchedule
from runtime.errors import Aborted, MlxdError, PeerLost, ProtocolError
from runtime.flow import Node
from runtime.ids import Rank

AnySchedule: TypeAlias = Schedule | ScatterSchedule | SpreadSchedule


class RankLost(PeerLost):
    """A peer of a running exchange is gone; `rank` says which."""

    def __init__(self, sentence: str, rank: Rank) -> None:
        self.rank = rank
        super().__init__(sentence)


@dataclass(frozen=True)
class Outgoing:
    """One message that a lane carries. `done` must be called exactly once, when the lane no longer needs the arrays."""

    header: Header
    views: tuple[Floats, ...]
    """Added from left to right, they are the payload; usually there is one. Empty when `encoded` is set."""
    encoded: Bytes | None
    done: Callable[[], None]

    @property
    def payload_bytes(self) -> int:
        """Length of the payload on the wire."""
        return self.header.payload_bytes

    def write(self, into: Bytes) -> None:
        """Put the payload into `into`, which is `payload_bytes` long."""
        wire = self.header.wire
        if self.encoded is not None:
            np.copyto(into, self.encoded)
        elif len(self.views) == 1:
            encode(self.views[0], wire, into)
        else:
            total = into.view(np.float32) if wire is WireDtype.FLOAT32 else np.empty(self.header.count, np.float32)
            with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is the voters' business
                np.add(self.views[0], self.views[1], out=total)
                for view in self.views[2:]:
                    np.add(total, view, out=total)
            if wire is not WireDtype.FLOAT32:
                encode(total, wire, into)

    def direct(self) -> memoryview | None:
        """The payload where it already lies, if it needs neither a sum nor a conversion."""
        if self.encoded is not None:
            return memoryview(self.encoded)
        if len(self.views) == 1 and self.header.wire is WireDtype.FLOAT32:
            return memoryview(self.views[0]).cast("B")
        return None


class Reduction:
    """The state of one exchange. `begin` it, `wait` for it, or `fail` it from any thread."""

    def __init__(
        self,
        schedule: AnySchedule,
        *,
        rank: Rank,
        run: int,
        parts: Mapping[Node, Floats],
        out: Floats,
        wire: WireDtype,
        pool: Scratch,
        kick: Callable[[Rank], None],
    ) -> None:
        plan = schedule.plan
        self.schedule, self.plan, self.key = schedule, plan, plan.key
        self._rank, self._run, self._parts, self._out, self._kick = rank, run, parts, out, kick
        self._wire = WireDtype.FLOAT32 if schedule.exact else wire
        self._changed = threading.Condition()
        self._active = 0
        self._error: MlxdError | None = None
        others = [peer for peer in schedule.peers if peer != rank]
        self._scatter = {peer: deque(schedule.scatter(rank, peer)) for peer in others}
        self._gather: dict[Rank, deque[tuple[Transfer, Bytes | None]]] = {
            peer: deque((transfer, None) for transfer in schedule.at_once(rank, peer)) for peer in others
        }
        self._unsent = {peer: schedule.messages(rank, peer) for peer in others}
        self._awaited = {peer: schedule.messages(peer, rank) for peer in others}
        self._folds = {
            piece.index: Fold(plan.terms, out[piece.start : piece.stop], self._local(piece.start, piece.stop), pool)
            for piece in schedule.owned_by(rank)
        }
        self._unsummed = len(self._folds)

    @property
    def peers(self) -> tuple[Rank, ...]:
        """Every other rank of the exchange."""
        return tuple(self._unsent)

    def begin(self) -> None:
        """Add what needs no message, and wake the lanes."""
        for index in self._folds:
            self._advance(index, Fold.advance)
        for peer in self.peers:
            self._kick(peer)

    def wait(self) -> None:
        """Returns when the sum is complete and nothing needs the arrays any more; raises what `fail` was given."""
        with self._changed:
            self._changed.wait_for(lambda: not self._active and (self._error is not None or self._complete()))
            if self._error is not None:
                raise self._error

    def end(self) -> None:
        """Return when no thread touches the arrays any more; gives the exchange up if it is not complete."""
        self.fail(Aborted(f"the exchange of step {self.plan.step} was left"))
        with self._changed:
            self._changed.wait_for(lambda: not self._active)

    def fail(self, error: MlxdError) -> None:
        """Give up: `wait` raises `error` as soon as no thread touches the arrays; later messages are discarded."""
        with self._changed:
            if self._error is None and not self._complete():
                self._error = error
                for peer in self.peers:
                    self._scatter[peer].clear()
                    self._gather[peer].clear()
            self._changed.notify_all()
        for fold in self._folds.values():
            fold.drop()

    def lost(self, peer: Rank, *, incoming: bool, outgoing: bool) -> None:
        """The lane from or to `peer` is over: fatal unless everything in that direction is through."""
        with self._changed:
            needed = (incoming and self._awaited.get(peer, 0)) or (outgoing and self._unsent.get(peer, 0))
        if needed:
            self.fail(RankLost(f"rank {peer} is gone in the exchange of step {self.plan.step}", peer))

    def take(self, peer: Rank) -> Outgoing | None:
        """The next message for `peer`, or None when there is none at the moment (`kick` tells when there is)."""
        with self._changed:
            if self._error is not None or peer not in self._unsent:
                return None
            if self._gather[peer]:
                transfer, encoded = self._gather[peer].popleft()
            elif self._scatter[peer]:
                transfer, encoded = self._scatter[peer].popleft(), None
            else:
                return None
            self._active += 1
        return self._outgoing(peer, transfer, encoded)

    def deliver(self, source: Rank, header: Header, payload: Bytes, release: Release) -> bool:
        """Take a message of this exchange; False if it came after the end. `release` is called once in any case."""
        with self._changed:
            if self._error is not None or self._awaited.get(source, 0) == 0:
                late = True
            else:
                late = False
                self._active += 1
        if late:
            release()
            return False
        try:
            self._check(source, header, payload)
            values = self._out[header.start : header.start + header.count]
            if header.phase is not Phase.REDUCE_SCATTER:
                decode(payload, header.wire, values)
                release()
            else:
                self._scattered(header, payload, release)
        except ProtocolError as error:
            release()
            self.fail(error)
        except BaseException as error:  # of the lane's thread, which ends; the waiting thread must hear of it
            self.fail(ProtocolError(f"a message of rank {source} could not be added: {error!r}"))
            raise
        finally:
            with self._changed:
                self._awaited[source] -= 1
                self._leave()
        return True

    def _scattered(self, header: Header, payload: Bytes, release: Release) -> None:
        if header.wire is WireDtype.FLOAT32:
            operand = payload.view(np.float32)
        else:
            operand = np.empty(header.count, np.float32)
            decode(payload, header.wire, operand)
        self._advance(header.piece, lambda fold: fold.offer(header.term, operand, release))

    def _advance(self, index: int, move: Callable[[Fold], bool]) -> None:
        """Move one fold on; when that completes its sum, hand the piece to every receiver."""
        if not move(self._folds[index]):
            return
        piece = self.schedule.pieces[index]
        encoded = None
        receivers = [peer for peer in self.schedule.receivers_of(piece) if peer != self._rank]
        if self._wire is not WireDtype.FLOAT32 and receivers:
            result = self._out[piece.start : piece.stop]
            encoded = np.empty(piece.elements * self._wire.element_bytes, np.uint8)
            encode(result, self._wire, encoded)
            decode(encoded, self._wire, result)  # the owner keeps what the others get, bit for bit
        with self._changed:
            self._unsummed -= 1
            if self._error is None:
                for peer in receivers:
                    self._gather[peer].append((Transfer(Phase.ALL_GATHER, piece), encoded))
        for peer in receivers:
            self._kick(peer)

    def _outgoing(self, peer: Rank, transfer: Transfer, encoded: Bytes | None) -> Outgoing:
        piece = transfer.piece
        if transfer.phase is not Phase.REDUCE_SCATTER:
            views: Sequence[Floats] = (self._out[piece.start : piece.stop],) if encoded is None else ()
        else:
            term = self.plan.terms[transfer.term]
            views = [self._parts[node][piece.start : piece.stop] for node in term.nodes]
        header = Header(
            transfer.phase, self._wire, self.plan.generation, self.plan.step, self._run,
            self.schedule.elements, piece.index, transfer.term, piece.start, piece.elements,
        )  # fmt: skip
        return Outgoing(header, tuple(views), encoded, lambda: self._sent(peer))

    def _sent(self, peer: Rank) -> None:
        with self._changed:
            self._unsent[peer] -= 1
            self._leave()

    def _leave(self) -> None:
        """Called with the lock held by every thread that stops touching the arrays."""
        self._active -= 1
        if not self._active and (self._error is not None or self._complete()):
            self._changed.notify_all()

    def _complete(self) -> bool:
        return not (self._unsummed or any(self._awaited.values()) or any(self._unsent.values()))

    def _local(self, start: int, stop: int) -> Callable[[Term], Sequence[Floats] | None]:
        def views(term: Term) -> Sequence[Floats] | None:
            return [self._parts[node][start:stop] for node in term.nodes] if term.rank == self._rank else None

        return views

    def _check(self, source: Rank, header: Header, payload: Bytes) -> None:
        """A message that does not fit the schedule means that the ranks disagree about the model or the settings."""
        pieces = self.schedule.pieces
        fits = (
            header.phase in self.schedule.phases
            and header.elements == self.schedule.elements
            and header.wire is self._wire
            and header.piece < len(pieces)
            and (header.start, header.count) == (pieces[header.piece].start, pieces[header.piece].elements)
            and payload.size == header.payload_bytes
        )
        if fits and header.phase is not Phase.REDUCE_SCATTER:
            fits = pieces[header.piece].owner == source
        elif fits:
            terms = self.plan.terms
            fits = header.piece in self._folds and header.term < len(terms) and terms[header.term].rank == source
        if not fits:
            raise ProtocolError(
                f"rank {source} sent {header.count} of {header.elements} elements where rank {self._rank} expected a "
                f"piece of {self.schedule.elements}: they disagree about the model, sync.bucket_mb or sync.wire_dtype"
            )
