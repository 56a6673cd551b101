"""A run of the real coordinator and real workers, every actor of theirs included, in one process: no root, no pipes.

Each worker has its own device thread, data plane, feeder, checkpoint writer and supervision tree; what a root does,
starting it again when it died, is the loop here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import mlx.core as mx
import trio

from runtime import events as facts
from runtime.app.bench import Bench, Contact
from runtime.app.coordinator import plan_of
from runtime.app.equipment import prepare
from runtime.app.rates import rate_of
from runtime.app.worker_tree import worker_tree
from runtime.checkpoint.reader import newest_good
from runtime.cluster.coordinator import Coordinator
from runtime.cluster.core import Core
from runtime.cluster.messages import RestorePoint
from runtime.cluster.signals import Position
from runtime.config.load import load_config
from runtime.config.schema import Config
from runtime.events import from_json
from runtime.ids import Cursor, Incarnation, Rank, Step
from runtime.metrics.scoring import scores
from runtime.rpc import GrpcNetwork
from runtime.supervision import supervise
from runtime.trainer.device_thread import DeviceThread, open_device_thread

GUARD_SECONDS = 900.0
FactT = TypeVar("FactT")


@dataclass
class Parent:
    """What a `Bench` asks of its parent process."""

    run: GridRun
    rank: Rank
    death: trio.CancelScope
    orders: Any = None

    def beat(self, step: int, phase: str) -> None:
        if self.run.deaths.get(self.rank) == (step, phase):
            del self.run.deaths[self.rank]
            self.death.cancel()

    def fact(self, event: Mapping[str, Any]) -> None:
        self.run.said.append(from_json(event))


@dataclass
class GridRun:
    """One run; `play` it once."""

    config_path: Path
    run_folder: Path
    overrides: tuple[str, ...] = ()
    deaths: dict[int, tuple[int, str]] = field(default_factory=dict)
    """Rank -> where it dies, once: at the beginning of this phase of this step."""
    published: list[facts.Event] = field(default_factory=list)
    """What the coordinator said."""
    said: list[facts.Event] = field(default_factory=list)
    """What the workers said."""
    incarnations: dict[int, int] = field(default_factory=dict)
    _preparing: trio.Lock = field(default_factory=trio.Lock)

    async def play(self) -> GridRun:
        """From the newest checkpoint of the folder, if there is one, to the end."""
        self.run_folder.mkdir(parents=True, exist_ok=True)
        (self.run_folder / "config.toml").write_text(self.config_path.read_text())
        config = load_config(self.config_path, self.overrides)
        workers = config.parallel.workers
        core = Core(plan_of(config, workers), self._point(), rate_of(config), _announce, scores_of=scores)
        coordinator = Coordinator(core, "grid", self.published.append, trio.lowlevel.checkpoint)
        with trio.fail_after(GUARD_SECONDS):
            async with GrpcNetwork.open(token="grid") as network:
                async with network.serve([coordinator.service], "127.0.0.1:0", name="coordinator") as server:
                    async with trio.open_nursery() as nursery:
                        for rank in range(workers):
                            nursery.start_soon(self._slot, Rank(rank), config, Contact(server.address, "grid", "grid"))
                        await coordinator.run()
        return self

    def of(self, kind: type[FactT]) -> list[FactT]:
        """Everything of a kind that the coordinator or a worker said."""
        return [fact for fact in (*self.published, *self.said) if isinstance(fact, kind)]

    def _point(self) -> RestorePoint:
        found = newest_good(self.run_folder / "checkpoints", on_rejected=_refuse)
        if found is None:
            return RestorePoint(Step(0), Cursor(0), "")
        manifest = found.manifest
        path = str(found.folder.relative_to(self.run_folder))
        return RestorePoint(manifest.step, manifest.cursor, path, manifest.counters)

    async def _slot(self, rank: Rank, config: Config, contact: Contact) -> None:
        for incarnation in count(1):
            self.incarnations[rank] = incarnation
            with trio.CancelScope() as death:
                async with open_device_thread() as device:
                    await self._life(rank, Incarnation(incarnation), config, contact, device, death)
                return

    async def _life(
        self, rank: Rank, incarnation: Incarnation, config: Config, contact: Contact, device: DeviceThread,
        death: trio.CancelScope,
    ) -> None:  # fmt: skip
        async with self._preparing:  # two threads that import the same packages at once may wait for each other
            equipment = await device.run(prepare, config, self.run_folder, rank)
        parent: Any = Parent(self, rank, death)
        bench = Bench(equipment, device, parent, rank, incarnation, self.run_folder)
        bench._contact = contact
        await supervise(worker_tree(bench), path=bench.path, emit=bench.emit)


def _announce(at: Position, last: Step, samples: int) -> facts.RunStarted:
    return facts.RunStarted("grid", 0, Step(at.step + 1), last, samples, "-")


def _refuse(rejected: object) -> None:
    raise AssertionError(f"a checkpoint is broken: {rejected}")


def compile_again() -> None:
    """Preparing a short run on a CPU switches mlx's compiler off for the process."""
    mx.enable_compile()
