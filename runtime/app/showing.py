"""Showing a run without ever waiting for a screen: a stopped terminal must not stop the training."""

from __future__ import annotations

import threading
from collections import deque
from typing import Protocol

from runtime.events import Envelope, RunState, fold

CAPACITY = 4096
CLOSE_SECONDS = 2.0
"""How long the end of a run waits for a screen that does not take its last lines."""


class Observer(Protocol):
    """Whoever shows the run; may be slow, and may block."""

    def update(self, envelope: Envelope, state: RunState) -> None:
        """A fact, and what all facts so far add up to."""
        ...

    def close(self, state: RunState) -> None:
        """The run is over."""
        ...


class Showing:
    """A sink of the bus: folds every fact at once, and shows it on a thread of its own. Drops the oldest when full."""

    def __init__(self, observer: Observer) -> None:
        self.state = RunState()
        self._observer = observer
        self._waiting: deque[tuple[Envelope, RunState]] = deque(maxlen=CAPACITY)
        self._changed = threading.Condition()
        self._over = False
        self._thread = threading.Thread(target=self._show, name="progress", daemon=True)
        self._thread.start()

    def __call__(self, envelope: Envelope) -> None:
        """Take one fact; returns at once."""
        self.state = fold(self.state, envelope)
        with self._changed:
            self._waiting.append((envelope, self.state))
            self._changed.notify()

    def close(self) -> None:
        """Show what is left, and let the observer tidy up; a blocked screen is left behind after two seconds."""
        with self._changed:
            self._over = True
            self._changed.notify()
        self._thread.join(CLOSE_SECONDS)

    def _show(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._over)
                if not self._waiting:
                    break
                envelope, state = self._waiting.popleft()
            self._observer.update(envelope, state)
        self._observer.close(self.state)
