"""Time of day as a person reads it here. The zone is this machine's."""

from __future__ import annotations

import time


def time_of_day(seconds: float) -> str:
    """`12:03:41`; blanks for a time that nobody knows."""
    return time.strftime("%H:%M:%S", time.localtime(seconds)) if seconds > 0 else " " * 8


def day_and_time(seconds: float) -> str:
    """`11-23 12:03`."""
    return time.strftime("%m-%d %H:%M", time.localtime(seconds)) if seconds > 0 else ""
