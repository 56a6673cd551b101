"""Stale, due, early: what happens to a message that comes at another time than its exchange."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest

from runtime.collectives.codec import WireDtype
from runtime.collectives.exchange import Phase, Plan, Schedule
from runtime.collectives.fold import Scratch
from runtime.collectives.frame import Header, Hello
from runtime.collectives.reduction import RankLost, Reduction
from runtime.collectives.traffic import Traffic
from runtime.errors import Aborted, StaleGeneration
from runtime.ids import Generation, Rank, Step

RUN, ME, PEER = 7, 100, 101
GUARD_SECONDS = 60.0
HELLO = Hello(RUN, Rank(1), PEER, ME)


def traffic(generation: int = 1) -> Traffic:
    made = Traffic(RUN, Rank(0))
    made.set_members(Generation(generation), {Rank(0): ME, Rank(1): PEER})
    return made


def reduction(generation: int = 1, step: int = 1) -> Reduction:
    """Rank 1 owns the only shard, so rank 0 waits for one message of four elements."""
    plan = Plan(Generation(generation), Step(step), {Rank(1): ((0, 1),)}, (Rank(0), Rank(1)), 1)
    return Reduction(
        Schedule(plan, 4, 4, 4), rank=Rank(0), run=RUN, parts={}, out=np.zeros(4, np.float32),
        wire=WireDtype.FLOAT32, pool=Scratch(4), kick=lambda _: None,
    )  # fmt: skip


def header(generation: int = 1, step: int = 1, run: int = RUN) -> Header:
    return Header(Phase.ALL_GATHER, WireDtype.FLOAT32, Generation(generation), Step(step), run, 4, 0, 0, 0, 4)


class Delivery:
    """A message that a lane's thread hands over; `released` is set when its slot is free again."""

    def __init__(self, to: Traffic, message: Header, hello: Hello = HELLO) -> None:
        self.released = threading.Event()
        payload = np.ones(4, np.float32).view(np.uint8)
        self._thread = threading.Thread(target=to.deliver, args=(hello, message, payload, self.released.set))
        self._thread.start()

    def end(self) -> bool:
        self._thread.join(GUARD_SECONDS)
        return self.released.is_set() and not self._thread.is_alive()


@pytest.mark.parametrize(
    ("message", "hello"),
    [
        (header(generation=1), HELLO),
        (header(generation=2, run=8), HELLO),
        (header(generation=2), Hello(RUN, Rank(1), PEER + 1, ME)),
        (header(generation=2), Hello(RUN, Rank(9), 9, ME)),
    ],
    ids=["old generation", "other run", "zombie of a member", "no member"],
)
def test_a_stale_message_is_discarded_and_counted(message: Header, hello: Hello) -> None:
    side = traffic(generation=2)
    assert Delivery(side, message, hello).end()
    assert side.stats().stale_messages == 1


def test_a_message_of_an_exchange_that_is_over_is_stale() -> None:
    side, running = traffic(), reduction()
    side.start(running)
    side.finish(running, 0.0)
    assert Delivery(side, header()).end()
    assert (side.stats().stale_messages, side.stats().exchanges) == (1, 1)


def test_an_early_message_waits_for_its_exchange() -> None:
    side, running = traffic(), reduction(step=2)
    early = Delivery(side, header(step=2))
    assert not early.released.is_set()
    side.start(running)
    running.wait()
    assert early.end()
    assert side.stats().stale_messages == 0


def ends() -> list[Callable[[Traffic], None]]:
    return [
        lambda side: side.abort(Generation(1)),
        lambda side: side.set_members(Generation(2), {Rank(0): ME, Rank(1): PEER}),
        lambda side: side.cancel(header(step=2).key),
        lambda side: side.close(),
    ]


@pytest.mark.parametrize("end", ends(), ids=["abort", "new members", "cancel", "close"])
def test_an_early_message_is_let_go_when_its_exchange_will_never_be(end: Callable[[Traffic], None]) -> None:
    side = traffic()
    early = Delivery(side, header(step=2))
    end(side)
    assert early.end()
    assert side.stats().stale_messages == 1


@pytest.mark.parametrize("end", ends(), ids=["abort", "new members", "cancel", "close"])
def test_a_running_exchange_is_aborted(end: Callable[[Traffic], None]) -> None:
    side, running = traffic(), reduction(step=2)
    side.start(running)
    end(side)
    with pytest.raises(Aborted):
        running.wait()
    side.finish(running, 0.0)
    with pytest.raises(Aborted):
        side.start(reduction(step=2))


def test_an_abort_of_an_older_generation_leaves_the_running_exchange_alone() -> None:
    side, running = traffic(generation=2), reduction(generation=2)
    side.start(running)
    side.abort(Generation(1))
    assert Delivery(side, header(generation=2)).end()
    running.wait()
    assert side.take(Rank(1)) is None


def test_members_never_go_back() -> None:
    side = traffic(generation=3)
    with pytest.raises(StaleGeneration, match="older than 3"):
        side.set_members(Generation(2), {})


def test_an_exchange_needs_its_members_and_an_idle_peer() -> None:
    side = traffic(generation=1)
    with pytest.raises(StaleGeneration, match="set_members comes first"):
        side.start(reduction(generation=2))
    side.start(reduction())
    with pytest.raises(RuntimeError, match="one at a time"):
        side.start(reduction(step=2))
    lonely = Traffic(RUN, Rank(0))
    lonely.set_members(Generation(1), {Rank(0): ME})
    with pytest.raises(StaleGeneration, match=r"ranks \[1\] are not members"):
        lonely.start(reduction())


def lost(running: Reduction) -> bool:
    """Whether the exchange has been given up for a lost rank."""
    try:
        running.fail(Aborted("asked"))
        running.wait()
    except RankLost:
        return True
    except Aborted:
        return False
    return False


def test_the_end_of_the_lane_to_a_peer_leaves_the_verdict_to_the_lane_from_it() -> None:
    side, running = traffic(), reduction()
    side.opened(HELLO)
    side.start(running)
    side.outgoing_lost(Rank(1), PEER)
    assert Delivery(side, header()).end()
    running.wait()
    side.incoming_lost(HELLO)
    assert side.stats().stale_messages == 0


def test_without_a_lane_from_the_peer_there_is_nothing_to_wait_for() -> None:
    side, running = traffic(), reduction()
    side.start(running)
    side.outgoing_lost(Rank(1), PEER)
    assert lost(running)


def test_the_end_of_the_lane_from_a_peer_that_still_owes_something_is_its_loss() -> None:
    side, running = traffic(), reduction()
    side.opened(HELLO)
    side.start(running)
    side.incoming_lost(HELLO)
    assert lost(running)


def test_the_end_of_a_zombies_lane_does_not_touch_its_successor() -> None:
    side, running = traffic(), reduction()
    zombie = Hello(RUN, Rank(1), PEER + 1, ME)
    side.opened(zombie)
    side.start(running)
    side.incoming_lost(zombie)
    side.outgoing_lost(Rank(1), PEER + 1)
    assert not lost(running)
