"""What a screen may know of the app."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from console.client.targets import Moment, Targets


class Seat(Protocol):
    """The app."""

    targets: Targets
    is_frozen: bool
    """The user holds the screen still."""
    config: Path | None
    """The configuration that was named on the command line."""

    def moment(self) -> Moment | None:
        """What there is to draw now; None without any target."""
