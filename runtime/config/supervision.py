"""[supervision]: what is restarted, how often, how fast, and when it is over."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from runtime.config.table import Amount, Count, Fraction, Positive, PositiveNumber, Table


class SupervisionSettings(Table):
    """What happens when something dies or hangs."""

    intensity: Annotated[int, Field(ge=0, le=1000)] = 3
    """restarts ..."""
    period_s: PositiveNumber = 300.0
    """... within this window, then give up"""
    backoff_s: Amount = 0.5
    """wait before the first restart"""
    backoff_factor: Annotated[float, Field(ge=1)] = 2.0
    """each further wait is longer by this factor ..."""
    backoff_cap_s: Amount = 30.0
    """... up to this"""
    jitter: Fraction = 0.2
    """random lengthening of a wait, as a fraction of it"""
    min_workers: Positive = 1
    """below it: checkpoint, wait for a worker, give up after wait_s"""
    wait_s: Amount = 600.0
    """how long to wait for a worker then"""
    hang_factor: Annotated[float, Field(ge=1)] = 6.0
    """hung: no progress for max(hang_floor_s, hang_factor x the step's usual time)"""
    hang_floor_s: PositiveNumber = 20.0
    """never call a worker hung earlier than this"""
    shutdown_s: PositiveNumber = 30.0
    """an ordered stop may take this long, then it is forced"""
    spare: Count = 1
    """started processes with imports done, waiting to replace a dead worker (per host)"""
