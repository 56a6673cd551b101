"""A run is shown on a thread of its own: a stopped terminal delays nothing, and all is folded."""

from __future__ import annotations

import threading

import pytest

from runtime.app import showing
from runtime.app.showing import Showing
from runtime.events import Envelope, RunFinished, RunStarted, RunState, Warned
from runtime.ids import ActorPath, Step


class Screen:
    """Keeps what it was shown; while `stopped` is not set free, it takes nothing."""

    def __init__(self, *, stopped: bool = False) -> None:
        self.shown: list[int] = []
        self.last: RunState | None = None
        self.goes_on = threading.Event()
        self.asked = threading.Event()
        if not stopped:
            self.goes_on.set()

    def update(self, envelope: Envelope, state: RunState) -> None:
        self.asked.set()
        self.goes_on.wait()
        self.shown.append(envelope.seq)

    def close(self, state: RunState) -> None:
        self.last = state


def told(to: Showing, count: int) -> None:
    to(Envelope(1, 1.0, ActorPath("run"), RunStarted("quick", 2, Step(1), Step(9), 16, "c")))
    for seq in range(2, count + 1):
        to(Envelope(seq, float(seq), ActorPath("run"), Warned("disk", f"{seq}")))


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "progress"]


def test_every_fact_is_shown_in_order_and_the_screen_is_tidied_up() -> None:
    screen = Screen()
    shows = Showing(screen)
    told(shows, 50)
    shows(Envelope(51, 51.0, ActorPath("run"), RunFinished("done", Step(9), 50.0)))
    shows.close()
    assert screen.shown == list(range(1, 52))
    assert screen.last is not None
    assert screen.last.status == "done"
    assert threads() == []


def test_a_stopped_terminal_delays_nobody_and_loses_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(showing, "CAPACITY", 4)
    monkeypatch.setattr(showing, "CLOSE_SECONDS", 0.01)
    screen = Screen(stopped=True)
    shows = Showing(screen)
    told(shows, 1)
    screen.asked.wait()  # the first fact is on the screen, and the screen does not move
    told_on(shows, range(2, 31))
    assert [alarm.cause for alarm in shows.state.alarms.values()] == ["30"]  # folded at once, whoever looks
    shows.close()
    assert screen.last is None
    (thread,) = threads()
    screen.goes_on.set()
    thread.join(60)
    assert screen.shown == [1, 27, 28, 29, 30]


def told_on(to: Showing, numbers: range) -> None:
    for seq in numbers:
        to(Envelope(seq, float(seq), ActorPath("run"), Warned("disk", f"{seq}")))
