"""The fault plan of a virtual cluster: random faults while they last, endpoints that are cut off, and keepalive."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import trio

from runtime.rpc.faults import HARMLESS, Fault, FaultPlan, FaultRates, Place, Verdict
from tests.virtual.history import FAULTS_END_SECONDS

KEEPALIVE_SECONDS = 15.0
"""When a silent connection is found broken, as gRPC's keepalive does."""


class WirePlan(FaultPlan):
    """A FaultPlan whose random faults end, and that tells who must hear of a black hole later.

    On a stream, orders come once and in order, as TCP gives them; what workers say may also come twice or late.
    """

    def __init__(self, seed: int, rates: FaultRates, dark: Callable[[str, str], None]) -> None:
        super().__init__(seed, rates)
        self._dark = dark
        self._links: dict[tuple[str, str], int] = {}

    def verdict(self, place: Place) -> Verdict:
        if trio.current_time() > FAULTS_END_SECONDS or place.server == "":
            return HARMLESS
        verdict = super().verdict(place)
        if verdict.fault in (Fault.DUPLICATE, Fault.REORDER) and (place.direction == "response" or place.message == 0):
            self.injected.pop()
            return replace(verdict, fault=Fault.NONE, delay_seconds=0.0)
        if verdict.fault is Fault.BLACKHOLE:
            self._dark(place.caller, place.server)
        return verdict

    def hold(self, *links: tuple[str, str]) -> None:
        """Hold up what the first sends to the second ('*' is anybody), until it is `mend`ed as often."""
        for link in links:
            self._links[link] = self._links.get(link, 0) + 1

    def mend(self, *links: tuple[str, str]) -> None:
        """Let what was held up pass."""
        for link in links:
            self._links[link] -= 1
        self.heal()

    def is_cut(self, source: str, target: str) -> bool:
        return any(self._links.get(link, 0) > 0 for link in ((source, target), (source, "*"), ("*", target)))
