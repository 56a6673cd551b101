"""Entry of the coordinator's process: `python -P -m runtime.app.coordinator --run-folder ...`.

It is told where to begin by its first order, says where it listens, and reports each committed position before anybody
acts on it, so that its successor can begin exactly there.
"""

from __future__ import annotations

import argparse
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import trio

from runtime import events as facts
from runtime.actors.child import Parent, Pipes, attached
from runtime.app.desk import Desk
from runtime.app.exits import leave
from runtime.app.log import start_log
from runtime.app.positions import point_from_json, position_from_json
from runtime.app.rates import rate_of
from runtime.app.words import JOURNALED, PAUSE_RUN, RESUME_RUN, SAVE_NOW, SERVE, SERVING, STOP_RUN
from runtime.cluster.coordinator import Coordinator
from runtime.cluster.core import Core
from runtime.cluster.loss_scale import LossScale
from runtime.cluster.messages import RestorePoint
from runtime.cluster.plan import RunPlan
from runtime.cluster.signals import Position
from runtime.cluster.slices import SLICES, copies_of
from runtime.config.load import load_config
from runtime.config.schema import Config
from runtime.ids import Step
from runtime.metrics.scoring import scores
from runtime.rpc import GrpcNetwork


def plan_of(config: Config, workers: int) -> RunPlan:
    """The configuration as the coordinator needs it."""
    generate = config.evaluation.generate
    has_held_out = bool(config.data.evaluation.path) or config.data.evaluation.eval_fraction > 0
    return RunPlan(
        workers=workers,
        global_batch_size=config.train.global_batch_size,
        logical_shards=config.parallel.logical_shards,
        steps=config.train.steps,
        epochs=config.train.epochs,
        min_workers=config.supervision.min_workers,
        wait_seconds=config.supervision.wait_s,
        checkpoint_every=config.checkpoint.every,
        checkpoint_every_seconds=config.checkpoint.every_s,
        evaluate=has_held_out,
        evaluate_every=config.evaluation.every,
        evaluate_max_batches=config.evaluation.max_batches,
        answers=generate.samples if config.parallel.pipeline == 1 else 0,
        answers_every=generate.every,
        stop_on_nonfinite=config.train.nonfinite == "error",
        spike_zscore=config.train.spike_zscore,
        loss_scale=LossScale.configured(config.model.dtype, config.optim.loss_scale),
        verify_every=config.sync.verify_every,
        slices=SLICES if config.parallel.shard_optimizer else 0,
        replicas=copies_of(workers, config.parallel.replicas),
        stages=config.parallel.pipeline,
    )


async def _work(pipes: Pipes, run_folder: Path) -> None:
    config = load_config(run_folder / "config.toml")
    log = start_log(config.run.log_level)
    async with attached(pipes, {"host": socket.gethostname()}) as parent:
        order = await parent.orders.receive()
        if order.kind != SERVE:
            raise RuntimeError(f"the first order must be {SERVE}, not {order.kind}")
        body = order.body
        core = _core(config, body, run_folder)
        desk = Desk(parent, core)
        coordinator = Coordinator(core, str(body["run_id"]), desk.publish, desk.settled, desk.ended)
        async with GrpcNetwork.open(token=str(body["token"])) as network:
            async with network.serve([coordinator.service], config.cluster.listen, name="coordinator") as server:
                log.info("serving %s at %s from step %d", run_folder.name, server.address, core.at.step)
                parent.report(SERVING, {"address": server.address})
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_obey, parent, coordinator, desk, nursery.cancel_scope)
                    await coordinator.run()
                    nursery.cancel_scope.cancel()


def _core(config: Config, body: Mapping[str, Any], run_folder: Path) -> Core:
    point: RestorePoint = point_from_json(body["point"])
    after = position_from_json(body["after"]) if body.get("after") else None
    workers = int(body["workers"])

    def announce(at: Position, last: Step, samples: int) -> facts.RunStarted:
        return facts.RunStarted(
            name=run_folder.name,
            workers=workers,
            first_step=Step(at.step + 1),
            last_step=last,
            samples_per_step=config.train.global_batch_size,
            config_hash=str(body["config_hash"]),
            run_id=str(body["run_id"]),
            resumed_from=point.path,
            cursor=at.cursor,
            samples=samples,
            model=config.model.path or f"{config.model.scratch.architecture} (scratch)",
            deterministic=config.run.deterministic,
            pid=os.getppid(),
            host=socket.gethostname(),
            version=str(body["version"]),
            command=str(body["command"]),
        )

    generation = int(body.get("generation", 0))
    return Core(
        plan_of(config, workers), point, rate_of(config), announce, after=after, generation=generation,
        scores_of=scores, held=str(body.get("held", "")),
    )  # fmt: skip


async def _obey(parent: Parent, coordinator: Coordinator, desk: Desk, scope: trio.CancelScope) -> None:
    """Follow the root: what somebody wants of the run is passed on; the order to stop this process ends it."""
    async for order in parent.orders:
        if order.kind == STOP_RUN:
            coordinator.stop(str(order.body.get("by", "the operator")))
        elif order.kind == PAUSE_RUN:
            coordinator.pause(str(order.body.get("by", "the operator")))
        elif order.kind == RESUME_RUN:
            coordinator.resume()
        elif order.kind == SAVE_NOW:
            coordinator.save()
        elif order.kind == JOURNALED:
            desk.journaled()
    scope.cancel()


def main() -> None:
    """Run the coordinator until the run is over or the parent wants it to stop."""
    parser = argparse.ArgumentParser(prog="coordinator")
    parser.add_argument("--run-folder", type=Path, required=True)
    Pipes.add_arguments(parser)
    args = parser.parse_args()
    trio.run(_work, Pipes.of(args), args.run_folder)


if __name__ == "__main__":
    leave(main)
