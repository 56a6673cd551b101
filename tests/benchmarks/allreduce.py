"""All-reduce against mlx's own ring, side by side on this host: `python -m tests.benchmarks.allreduce`.

Every contestant runs in fresh processes, in turns, several rounds; a figure is the median over all repetitions of
rank 0's wall time, the best of them beside it. Only ratios of one run mean anything on a shared machine. mlx's ring
can hang, so a watchdog kills a contestant that takes longer than `WATCHDOG_SECONDS` and its figure is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SIZES_MIB = (4, 16, 64)
WORKERS = (2, 4)
ROUNDS = 3
WARM_UP, REPETITIONS = 2, 8
WATCHDOG_SECONDS = 60.0
RING, GRPC, SHARED_MEMORY = "mlx ring", "grpc", "shared memory"
GRPC_BFLOAT16, SHARED_BFLOAT16 = "grpc bf16", "shared bf16"
CONTESTANTS = (RING, GRPC, SHARED_MEMORY, GRPC_BFLOAT16, SHARED_BFLOAT16)


@dataclass(frozen=True)
class Figure:
    """Milliseconds of one contestant at one size."""

    median_ms: float
    best_ms: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table; or, with `--worker`, be one of the contestants' processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worker", nargs=3, metavar=("CONTESTANT", "RANK", "WORKERS"))
    parser.add_argument("--workers", type=int, nargs="+", default=WORKERS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    given = parser.parse_args(arguments)
    if given.worker:
        contestant, rank, workers = given.worker
        work(contestant, int(rank), int(workers))
        return
    for workers in given.workers:
        print(table(workers, measure(workers, given.rounds)), flush=True)


def measure(workers: int, rounds: int = ROUNDS) -> dict[tuple[str, int], Figure]:
    """(contestant, MiB) -> figure; a contestant that hung in every round is missing."""
    seconds: dict[tuple[str, int], list[float]] = {}
    for _ in range(rounds):
        for contestant in CONTESTANTS:
            for size, each in run(contestant, workers).items():
                seconds.setdefault((contestant, size), []).extend(each)
    return {key: Figure(statistics.median(each) * 1e3, min(each) * 1e3) for key, each in seconds.items()}


def run(contestant: str, workers: int) -> dict[int, list[float]]:
    """One round: MiB -> seconds of each repetition on rank 0; empty when the watchdog had to kill it."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        environment = os.environ | {"MLX_HOSTFILE": str(folder / "hosts.json"), "PYTHONPATH": os.pathsep.join(sys.path)}
        (folder / "hosts.json").write_text(json.dumps([[f"127.0.0.1:{port}"] for port in free_ports(workers)]))
        command = [sys.executable, "-P", "-m", "tests.benchmarks.allreduce", "--worker", contestant]
        started = [
            subprocess.Popen(
                [*command, str(rank), str(workers)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                env=environment | {"MLX_RANK": str(rank)},
            )
            for rank in range(workers)
        ]  # fmt: skip
        for process in started:
            stack.callback(process.communicate)
            stack.callback(process.kill)
        addresses = json.dumps([process.stdout.readline().strip() for process in started if process.stdout])
        for process in started:
            assert process.stdin is not None
            process.stdin.write(addresses + "\n")
            process.stdin.flush()
        first = started[0]
        assert first.stdout is not None
        watchdog = threading.Timer(WATCHDOG_SECONDS, first.kill)
        watchdog.start()
        said = first.stdout.readline()
        watchdog.cancel()
        if not said:
            print(f"{contestant} with {workers} workers hung and was killed", file=sys.stderr)
        return {int(size): each for size, each in json.loads(said).items()} if said else {}


def free_ports(count: int) -> list[int]:
    """Ports that nobody used a moment ago (mlx's ring takes no port 0)."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def work(contestant: str, rank: int, workers: int) -> None:
    """One process of a contestant: announce an address, read everybody's, measure, print."""
    if contestant == RING:
        print("ring", flush=True)
        sys.stdin.readline()
        step = ring()
    else:
        step = ours(contestant, rank, workers)
    seconds = {size: [step(size) for _ in range(WARM_UP + REPETITIONS)][WARM_UP:] for size in SIZES_MIB}
    if rank == 0:
        print(json.dumps(seconds), flush=True)
    sys.stdin.readline()  # nobody leaves while others may still wait for its last message
    os._exit(0)  # a ring whose peer left first would hang in its exit handlers


def ring() -> Callable[[int], float]:
    """A function that times one all_sum of that many MiB."""
    import mlx.core as mx

    members = mx.distributed.init(strict=True, backend="ring")
    inputs = {size: mx.random.normal((size << 18,)) for size in SIZES_MIB}
    mx.eval(inputs)

    def step(size: int) -> float:
        began = time.perf_counter()
        mx.eval(mx.distributed.all_sum(inputs[size], group=members, stream=mx.cpu))
        return time.perf_counter() - began

    return step


def ours(contestant: str, rank: int, workers: int) -> Callable[[int], float]:
    """A function that times one all-reduce of that many MiB by a Peer."""
    from runtime.collectives import Peer, Plan, WireDtype, cover
    from runtime.ids import Generation, Rank, RunId, Step

    wire = WireDtype.BFLOAT16 if contestant in {GRPC_BFLOAT16, SHARED_BFLOAT16} else WireDtype.FLOAT32
    shared = contestant in {SHARED_MEMORY, SHARED_BFLOAT16}
    peer = Peer.open("127.0.0.1:0", RunId("bench"), Rank(rank), wire=wire, shared_memory=shared)
    print(peer.address, flush=True)
    addresses = json.loads(sys.stdin.readline())
    peer.set_members(Generation(1), {Rank(each): address for each, address in enumerate(addresses)})
    nodes = {Rank(each): cover([each], workers) for each in range(workers)}
    steps = iter(range(1, 1000))
    rng = np.random.default_rng(rank)
    inputs = {size: rng.standard_normal(size << 18, np.float32) for size in SIZES_MIB}
    outs = {size: np.zeros_like(each) for size, each in inputs.items()}

    def step(size: int) -> float:
        plan = Plan(Generation(1), Step(next(steps)), nodes, tuple(nodes), workers)
        began = time.perf_counter()
        peer.all_reduce(plan, {nodes[Rank(rank)][0]: inputs[size]}, out=outs[size])
        return time.perf_counter() - began

    return step


def table(workers: int, figures: dict[tuple[str, int], Figure]) -> str:
    """Median (best) milliseconds, and how many times faster than the ring the median is."""
    lines = [f"{workers} workers, fp32 sums: median (best) ms, times faster than mlx ring"]
    for size in SIZES_MIB:
        cells = []
        base = figures.get((RING, size))
        for contestant in CONTESTANTS:
            figure = figures.get((contestant, size))
            cells.append(f"{contestant}: {_cell(figure, base)}")
        lines.append(f"{size:>4} MiB  " + "  ".join(cells))
    return "\n".join(lines)


def _cell(figure: Figure | None, base: Figure | None) -> str:
    if figure is None:
        return "hung"
    factor = f" {base.median_ms / figure.median_ms:.2f}x" if base is not None else ""
    return f"{figure.median_ms:.1f} ({figure.best_ms:.1f}){factor}"


if __name__ == "__main__":
    main()
