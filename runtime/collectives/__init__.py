"""Sums that all ranks agree on: the data plane. `Peer` is the door; everything else is how it keeps its promises.

Pure:   tree (the canonical summation tree), buckets (cuts), exchange, scatter, spread (who sends what), codec, frame
Shell:  fold (one piece), reduction (one exchange), traffic (stale, due, early), lane (shm, grpc), port, state, peer
"""

from __future__ import annotations

from runtime.collectives.codec import WireDtype
from runtime.collectives.exchange import Plan
from runtime.collectives.peer import Peer
from runtime.collectives.reduction import RankLost
from runtime.collectives.scatter import Share
from runtime.collectives.spread import Parcel, Spread
from runtime.collectives.state import fetch_state
from runtime.collectives.traffic import Stats
from runtime.collectives.tree import TreeSum, combine, cover

__all__ = [
    "Peer",
    "Plan",
    "WireDtype",
    "RankLost",
    "Share",
    "Spread",
    "Parcel",
    "Stats",
    "fetch_state",
    "TreeSum",
    "combine",
    "cover",
]
