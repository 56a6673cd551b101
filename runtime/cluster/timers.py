"""Named alarms of a pure state machine: it is told the time, and asks for the next moment at which to be told again."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Timers:
    """At most one alarm of each name, in seconds of whatever clock the caller has."""

    _at: dict[str, float] = field(default_factory=dict)

    def keep(self, name: str, time: float) -> None:
        """Ring at `time`, unless this alarm is already set."""
        self._at.setdefault(name, time)

    def only(self, name: str, time: float) -> None:
        """Ring at `time`, and forget every other alarm."""
        self._at = {name: time}

    def cancel(self, name: str) -> None:
        """Do not ring."""
        self._at.pop(name, None)

    def due(self, now: float) -> str | None:
        """Take one alarm that is due; None when there is none."""
        name = next((name for name, time in self._at.items() if time <= now), None)
        if name is not None:
            del self._at[name]
        return name

    @property
    def next(self) -> float | None:
        """When the next alarm rings."""
        return min(self._at.values(), default=None)
