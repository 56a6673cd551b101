"""Seeded faults for calls between named endpoints. What happens to which message is a pure function of the seed.

Calls (the three ways in which a remote call can fail, and silence):
    lose_request    the request never arrives; the caller sees PeerLost
    lose_response   the other side has answered; the caller sees PeerLost
    break_in_flight the request is delivered and the connection breaks while it is being answered
    blackhole       from this message on nothing passes in either direction, and nobody is told (a half-open connection)
On a stream the first three strike at a message, and break the stream, as a lost TCP connection would.

Messages (delay happens on any network; the rest is harsher than gRPC and tests that receivers are idempotent):
    delay, duplicate, reorder, vanish

Links: cut(a, b) stalls what a sends to b until heal(), as a router that comes back; partition() cuts between groups.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, fields
from enum import Enum
from random import Random
from typing import Literal

import trio

Direction = Literal["request", "response"]


class Fault(Enum):
    """What may happen to a message."""

    NONE = "none"
    LOSE_REQUEST = "lose_request"
    LOSE_RESPONSE = "lose_response"
    BREAK_IN_FLIGHT = "break_in_flight"
    BLACKHOLE = "blackhole"
    DUPLICATE = "duplicate"
    REORDER = "reorder"
    VANISH = "vanish"


_OF_REQUESTS = (Fault.LOSE_REQUEST, Fault.BREAK_IN_FLIGHT)
_OF_RESPONSES = (Fault.LOSE_RESPONSE,)
_OF_BOTH = (Fault.BLACKHOLE, Fault.DUPLICATE, Fault.REORDER, Fault.VANISH)


@dataclass(frozen=True)
class FaultRates:
    """Probability per message, 0 to 1. `delay` of the messages wait up to `delay_seconds`, which keeps their order;
    a reordered one is held for `delay_seconds` while later ones pass."""

    lose_request: float = 0.0
    lose_response: float = 0.0
    break_in_flight: float = 0.0
    blackhole: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    vanish: float = 0.0
    delay: float = 0.0
    delay_seconds: float = 0.05

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if value < 0 or (value > 1 and each.name != "delay_seconds"):
                raise ValueError(f"{each.name} = {value}: a probability is from 0 to 1, a delay at least 0")


@dataclass(frozen=True)
class Place:
    """One message of one call: the caller, the server, the method, the how-manieth call of that kind, and the
    how-manieth message of that direction."""

    caller: str
    server: str
    path: str
    call: int
    direction: Direction
    message: int


@dataclass(frozen=True)
class Verdict:
    """What happens to one message."""

    fault: Fault
    delay_seconds: float = 0.0


HARMLESS = Verdict(Fault.NONE)


class FaultPlan:
    """Decides what happens to each message. Two runs with one seed and the same messages have the same faults,
    whatever the order in which tasks run."""

    def __init__(
        self,
        seed: int,
        rates: FaultRates | None = None,
        *,
        paths: Collection[str] | None = None,
        callers: Collection[str] | None = None,
    ) -> None:
        """`paths` and `callers` narrow the random faults to some methods and callers; None = all."""
        self.seed, self._rates = seed, rates or FaultRates()
        self._paths, self._callers = paths, callers
        self._calls: dict[tuple[str, str, str], int] = {}
        self._cuts: set[tuple[str, str]] = set()
        self._healed = trio.lowlevel.ParkingLot()
        self.injected: list[tuple[Place, Verdict]] = []
        """Every verdict that was not harmless, in the order of asking: the script of a failure."""

    def number_call(self, caller: str, server: str, path: str) -> int:
        """0, 1, 2, ... for each call of `caller` to this method."""
        number = self._calls.get((caller, server, path), 0)
        self._calls[caller, server, path] = number + 1
        return number

    def verdict(self, place: Place) -> Verdict:
        """What happens to this message; also noted in `injected`."""
        if (self._paths is not None and place.path not in self._paths) or (
            self._callers is not None and place.caller not in self._callers
        ):
            return HARMLESS
        verdict = decide(self.seed, self._rates, place)
        if verdict != HARMLESS:
            self.injected.append((place, verdict))
        return verdict

    # ---- links

    def cut(self, source: str, target: str) -> None:
        """What `source` sends to `target` is held up from now on. The other direction stays."""
        self._cuts.add((source, target))

    def partition(self, *groups: Iterable[str]) -> None:
        """Cuts every link between endpoints of different groups, both ways; links inside a group stay."""
        sets = [frozenset(group) for group in groups]
        for one in sets:
            for other in sets:
                if one is not other:
                    self._cuts.update((source, target) for source in one for target in other)

    def heal(self) -> None:
        """All links work again; what was held up passes now, late and in order."""
        self._cuts.clear()
        self._healed.unpark_all()

    def is_cut(self, source: str, target: str) -> bool:
        """Whether messages from `source` to `target` are held up."""
        return (source, target) in self._cuts

    async def passable(self, source: str, target: str) -> None:
        """Returns once messages pass from `source` to `target`."""
        while self.is_cut(source, target):
            await self._healed.park()


def decide(seed: int, rates: FaultRates, place: Place) -> Verdict:
    """The pure core: one draw for the fault, one for the delay, from a generator seeded by the place."""
    random = Random(repr((seed, place)))
    draw, threshold, fault = random.random(), 0.0, Fault.NONE
    for candidate in (_OF_REQUESTS if place.direction == "request" else _OF_RESPONSES) + _OF_BOTH:
        threshold += getattr(rates, candidate.value)
        if draw < threshold:
            fault = candidate
            break
    is_late = fault is Fault.REORDER or random.random() < rates.delay
    delay_seconds = random.uniform(0, rates.delay_seconds) if is_late else 0.0
    return Verdict(fault, delay_seconds) if fault is not Fault.NONE or delay_seconds else HARMLESS
