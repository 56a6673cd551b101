"""Who a worker is."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.ids import Incarnation, Rank


@dataclass(frozen=True)
class Identity:
    """Who this worker is; what every Join says of it."""

    run: str
    rank: Rank
    incarnation: Incarnation
    peer_address: str
    samples_in_epoch: int
    data_fingerprint: str
    host: str
    device: str
    pid: int
    parameters: int = 0
    trained_parameters: int = 0
    stage_address: str = ""
    is_away: bool = False
