"""References: how one actor reaches another that may be restarted between two messages.

An `Address` belongs to a slot of the supervision tree and outlives its incarnations; the supervisor opens it for each
incarnation and closes it when that one ends. A `Ref` is the sender's side of it. Nobody waits for a dead actor:
`tell` and `ask` fail at once with ActorDown, also when the target dies while they wait.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import outcome
import trio

from runtime.actors.mailbox import DEFAULT_CAPACITY, Mailbox
from runtime.errors import ActorDown
from runtime.ids import ActorPath, Incarnation

M = TypeVar("M")
R = TypeVar("R")


@dataclass(frozen=True)
class Down:
    """One incarnation of an actor ended; `reason` is a clause for a person."""

    path: ActorPath
    incarnation: Incarnation
    reason: str


class Reply(Generic[R]):
    """The answer slot that travels inside a question. The first answer counts; later ones are ignored."""

    def __init__(self) -> None:
        self._answer: outcome.Outcome[R] | None = None
        self._given = trio.Event()

    def send(self, value: R) -> None:
        """Answer with `value`. Harmless when the asker is gone."""
        self._give(outcome.Value(value))

    def fail(self, error: Exception) -> None:
        """Answer with an error: `ask` raises it at the asker."""
        self._give(outcome.Error(error))

    def _give(self, answer: outcome.Outcome[R]) -> None:
        if self._answer is None:
            self._answer = answer
            self._given.set()

    async def wait(self) -> R:
        """The answer, or the error that was given as one."""
        await self._given.wait()
        assert self._answer is not None  # set together with the event
        return self._answer.unwrap()


class Address(Generic[M]):
    """The receiving end of a slot: opened by the supervisor for each incarnation, closed when that one ends."""

    def __init__(self, path: str, capacity: int = DEFAULT_CAPACITY) -> None:
        self.path = ActorPath(path)
        self.capacity = capacity
        self.ref: Ref[M] = Ref(self)
        self._mailbox: Mailbox[M] | None = None
        self._incarnation = Incarnation(0)
        self._reason = "not started yet"
        self._opened = trio.Event()
        self._closed = trio.Event()

    def open(self, incarnation: Incarnation, path: ActorPath | None = None) -> Mailbox[M]:
        """A fresh mailbox for `incarnation`, now known to stand at `path`; messages of an earlier one are gone."""
        if self._mailbox is not None:
            raise RuntimeError(f"{self.path}: incarnation {self._incarnation} is still there")
        self.path = path or self.path
        self._mailbox = Mailbox(self.capacity)
        self._incarnation = incarnation
        self._closed = trio.Event()
        self._opened.set()
        return self._mailbox

    def close(self, reason: str) -> None:
        """The incarnation ended: its unread messages are dropped and everybody who waits for it is told."""
        if self._mailbox is not None:
            self._mailbox.close()
            self._mailbox = None
            self._reason = reason
            self._opened = trio.Event()
            self._closed.set()

    def _current(self) -> Mailbox[M]:
        if self._mailbox is None:
            raise self._gone()
        return self._mailbox

    def _gone(self) -> ActorDown:
        return ActorDown(f"{self.path} is down: {self._reason}")


class Ref(Generic[M]):
    """The sending end of a slot; stays valid over restarts. Made by an Address or a supervisor, never by hand."""

    def __init__(self, address: Address[M]) -> None:
        self._address = address

    def __repr__(self) -> str:
        return f"<Ref {self.path} #{self.incarnation}{'' if self.is_up else ' down'}>"

    @property
    def path(self) -> ActorPath:
        """Where the actor stands in the tree."""
        return self._address.path

    @property
    def incarnation(self) -> Incarnation:
        """The incarnation that is up, or the last one that was (0: none yet)."""
        return self._address._incarnation

    @property
    def is_up(self) -> bool:
        """Whether an incarnation has a mailbox now; it may be down by the time that a message is sent."""
        return self._address._mailbox is not None

    async def tell(self, message: M) -> None:
        """Enqueue, waiting for room; raises ActorDown when the actor is down, stopping, or ends while this waits."""
        try:
            await self._address._current().put(message)
        except ActorDown:
            raise self._refusal() from None

    def try_tell(self, message: M) -> None:
        """Enqueue at once; raises MailboxFull when there is no room, ActorDown when the actor is down or stopping."""
        try:
            self._address._current().try_put(message)
        except ActorDown:
            raise self._refusal() from None

    async def ask(self, make: Callable[[Reply[R]], M], *, within: float) -> R:
        """Send `make(reply)` and return what the actor answers within `within` seconds.

        Raises ActorDown at once when the actor is down or ends before it answers (an answer given just before the
        end still counts), trio.TooSlowError after `within` seconds, and whatever error the actor answered with.
        """
        reply: Reply[R] = Reply()
        with trio.fail_after(within):
            closed = self._address._closed
            await self.tell(make(reply))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_cancel_when, closed, nursery.cancel_scope)
                nursery.start_soon(_cancel_when, reply._given, nursery.cancel_scope)
        if reply._answer is None:
            raise self._refusal()
        return reply._answer.unwrap()

    async def wait_up(self) -> Incarnation:
        """Return when an incarnation has a mailbox (at once if one has), with its number."""
        while not self.is_up:
            await self._address._opened.wait()
        return self.incarnation

    async def wait_down(self, incarnation: Incarnation | None = None) -> Down:
        """Return when `incarnation` (default: the present one) is over; at once if it is, so no end is missed."""
        watched = self.incarnation if incarnation is None else incarnation
        while self.is_up and self.incarnation <= watched:
            await self._address._closed.wait()
        reason = self._address._reason if not self.is_up else "replaced"
        return Down(self.path, watched, reason)

    def _refusal(self) -> ActorDown:
        return ActorDown(f"{self.path} is stopping") if self.is_up else self._address._gone()


async def _cancel_when(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()
