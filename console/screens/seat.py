"""What a screen may know of the app."""

from __future__ import annotations

from typing import Protocol

from console.client.targets import Moment, Targets


class Seat(Protocol):
    """The app."""

    targets: Targets
    is_frozen: bool
    """The user holds the screen still."""

    def moment(self) -> Moment | None:
        """What there is to draw now; None without any target."""
