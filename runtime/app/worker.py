"""Entry of a worker's process: `python -P -m runtime.app.worker --rank R --run-folder ...`. One device, one process.

It says Hello when its model and data are loaded, joins whichever coordinator its parent names, and inside it four
actors work under rest_for_one: checkpoint writer, all-reduce peer, feeder, trainer. None of them is restarted in place:
what an MLX process holds after an exception cannot be trusted, so the process is the unit of recovery.
"""

from __future__ import annotations

import argparse
import importlib
import os
import socket
import sys
import traceback
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio
from setproctitle import setproctitle

from runtime.actors import root_cause
from runtime.actors.child import Parent, Pipes, attached
from runtime.actors.spare import EQUIPPED
from runtime.app.exits import CANNOT_START, leave
from runtime.app.log import start_log
from runtime.app.words import ASSUME
from runtime.config.load import load_config
from runtime.config.schema import Config
from runtime.errors import GaveUp, MlxdError
from runtime.ids import Incarnation, Rank
from runtime.models.blas import load_blas
from runtime.models.device import DeviceKind, claim_device, default_kind, find_devices
from runtime.supervision import supervise

if TYPE_CHECKING:
    from runtime.app.bench import Bench
    from runtime.app.equipment import Equipment
    from runtime.trainer.device_thread import DeviceThread


@dataclass(frozen=True)
class _Self:
    """Who this process is. A spare learns it from its first order."""

    rank: Rank
    incarnation: Incarnation
    is_away: bool = False
    """On another machine than the run's folder; that of `--run-folder` is a copy without a past."""


async def _work(pipes: Pipes, rank: int, run_folder: Path, workers_here: int, is_away: bool) -> None:
    info = {"host": socket.gethostname(), "rank": str(rank)}
    async with attached(pipes, info) as parent:
        try:
            await _on_device(_Self(Rank(rank), pipes.incarnation, is_away), parent, run_folder, workers_here)
        except trio.Cancelled:
            raise
        except BaseExceptionGroup as group:
            raise root_cause(group) from group


async def _on_device(who: _Self, parent: Parent, run_folder: Path, workers_here: int) -> None:
    config = load_config(run_folder / "config.toml")
    log = start_log(config.run.log_level)
    blas = load_blas(blas_threads(config, workers_here))
    log.info("BLAS: %s, %d threads%s", blas.name, blas.threads, f" ({blas.note})" if blas.note else "")
    if who.rank < 0 and len(find_devices()) > 1:  # pragma: no cover - importing mlx settles which of the GPUs it has
        _warm_up()
        parent.report(EQUIPPED, {})
        called = await _called_up(parent)
        if called is None:
            return
        who = called
    if who.rank >= 0:
        claim_device(who.rank)
    # Everything below imports mlx, which must find the fast BLAS in place, and no device but its own.
    from runtime.app.bench import Bench
    from runtime.trainer.device_thread import open_device_thread

    async with open_device_thread() as device:
        equipment = None
        if who.rank < 0:
            equipment = await _equipped_in_advance(device, config, run_folder, who)
            parent.report(EQUIPPED, {})
            called = await _called_up(parent)
            if called is None:
                return
            who = called
        parent.beat(0, "load")
        if equipment is None:
            equipment = await _equipped(device, config, run_folder, who)
        log.info("rank %d, incarnation %d: %s", who.rank, who.incarnation, equipment.summary)
        await _at_work(Bench(equipment, device, parent, who.rank, who.incarnation, run_folder, is_away=who.is_away))


async def _equipped_in_advance(
    device: DeviceThread, config: Config, run_folder: Path, spare: _Self
) -> Equipment | None:
    """A spare's model and data; None where it cannot know what to load, or has no memory for it."""
    from runtime.app.equipment import prepare

    # elsewhere the model's memory belongs to those who train, and which stage it is of a pipeline nobody knows
    if default_kind() is not DeviceKind.CPU or config.parallel.pipeline > 1:
        return None
    return await device.run(prepare, config, run_folder, spare.rank)


async def _equipped(device: DeviceThread, config: Config, run_folder: Path, who: _Self) -> Equipment:
    """This worker's model and data. Ends the process where a first start fails with an error that nobody foresaw."""
    from runtime.app.equipment import prepare

    try:
        return await device.run(prepare, config, run_folder, who.rank)
    except MlxdError:
        raise
    except Exception:  # a first start that fails is no crash loop: say everything, and end the run
        if who.incarnation > 1:
            raise
        traceback.print_exc()
        sys.exit(CANNOT_START)


async def _at_work(bench: Bench) -> None:
    """Run the worker's actors until they are done. Raises what a person should read when they failed."""
    from runtime.app.worker_tree import worker_tree

    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.obey)
        nursery.start_soon(bench.beat)
        try:
            await supervise(worker_tree(bench), path=bench.path, emit=bench.emit)
        except GaveUp as gave_up:
            raise bench.failure or gave_up from gave_up
        nursery.cancel_scope.cancel()


def _warm_up() -> None:  # pragma: no cover - needs several GPUs
    """Import what a worker needs and takes long, all but mlx."""
    for name in ("grpc", "numpy", "transformers"):
        importlib.import_module(name)


async def _called_up(parent: Parent) -> _Self | None:
    """Whose place this spare takes; None when it was never needed."""
    async for order in parent.orders:
        if order.kind == ASSUME:
            rank, incarnation = Rank(int(order.body["rank"])), Incarnation(int(order.body["incarnation"]))
            setproctitle(
                f"{sys.executable} -m runtime.app.worker --rank {rank} --incarnation {incarnation} (was spare)"
            )
            return _Self(rank, incarnation)
    return None


def blas_threads(config: Config, workers_here: int) -> int:
    """BLAS threads of one worker: its share of the cores; one when bits must not depend on the share."""
    return 1 if config.run.deterministic else max(1, (os.cpu_count() or 1) // workers_here)


def main() -> None:
    """Work until the run is over or the parent wants this process to stop."""
    parser = argparse.ArgumentParser(prog="worker")
    parser.add_argument("--rank", type=int, required=True)
    parser.add_argument("--run-folder", type=Path, required=True)
    parser.add_argument("--workers-here", type=int, default=1, help="workers that share this host's cores")
    parser.add_argument("--away", action="store_true", help="the run's folder is on another machine")
    Pipes.add_arguments(parser)
    args = parser.parse_args()
    trio.run(partial(_work, Pipes.of(args), args.rank, args.run_folder, args.workers_here, args.away))


if __name__ == "__main__":
    leave(main)
