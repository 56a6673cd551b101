"""What a screen may know of the app."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from console.client.targets import Moment, Target, Targets


class Seat(Protocol):
    """The app."""

    targets: Targets
    is_frozen: bool
    """The user holds the screen still."""
    config: Path | None
    """The configuration that was named on the command line."""

    def reach(self, place: str) -> Target:
        """A run as the user names it, as a target that nobody listens to yet."""

    def moment(self) -> Moment | None:
        """What there is to draw now; None without any target."""
