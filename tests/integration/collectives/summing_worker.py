"""A worker process of the kill tests: joins by files in a folder and sums until it is killed or loses a peer.

Arguments: folder, rank, number of ranks, `shm` or `grpc`. Prints one line per step, then what ended it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from runtime.collectives import Peer, Plan, RankLost, cover
from runtime.ids import Generation, Rank, RunId, Step
from tests.support.waiting import until

ELEMENTS = 500_000


def main(folder: Path, rank: int, count: int, shared_memory: bool) -> None:
    """Sum for ever."""
    peer = Peer.open("127.0.0.1:0", RunId("kill"), Rank(rank), message_bytes=1 << 14, shared_memory=shared_memory)
    own = folder / f"{rank}.new"
    own.write_text(peer.address)
    own.rename(folder / f"{rank}.address")
    files = [folder / f"{each}.address" for each in range(count)]
    until(lambda: all(file.exists() for file in files), within_seconds=60, what=lambda: "peers are missing")
    peer.set_members(Generation(1), {Rank(each): file.read_text() for each, file in enumerate(files)})
    nodes = {Rank(each): cover([each], count) for each in range(count)}
    out = np.empty(ELEMENTS, np.float32)
    step = 0
    try:
        while True:
            step += 1
            plan = Plan(Generation(1), Step(step), nodes, tuple(nodes), count)
            peer.all_reduce(plan, {nodes[Rank(rank)][0]: np.ones(ELEMENTS, np.float32)}, out=out)
            print("step", step, float(out[0]), flush=True)
    except RankLost as lost:
        print("lost", lost.rank, flush=True)
    peer.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "shm")
