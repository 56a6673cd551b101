"""A run in this process with everything real but its processes, and gradients that are spoiled at chosen moments.

Coordinator, trainers, a tiny model on a device thread for each worker, the data plane, checkpoints on disk.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio
from mlx.utils import tree_map

from runtime import events as facts
from runtime.app.coordinator import plan_of
from runtime.app.equipment import Equipment, prepare
from runtime.app.rates import rate_of
from runtime.checkpoint.draft import write_checkpoint
from runtime.checkpoint.manifest import Provenance
from runtime.cluster.coordinator import Coordinator
from runtime.cluster.core import Core
from runtime.cluster.messages import CheckpointDone, Finish, Order, Refused, RestorePoint, Seal
from runtime.cluster.session import open_session
from runtime.cluster.signals import Finished, Position
from runtime.collectives import Peer
from runtime.config.load import load_config
from runtime.events import Envelope, Event
from runtime.events.audit import Audit
from runtime.events.ledger import Ledger
from runtime.events.ledger_samples import ReadingOrder
from runtime.flow import Batch
from runtime.ids import ActorPath, Cursor, Incarnation, Rank, RunId, Step
from runtime.rpc import LoopbackNetwork
from runtime.trainer.device_engine import DeviceEngine
from runtime.trainer.device_thread import DeviceThread, open_device_thread
from runtime.trainer.engine import Engine, Local, Parts, Pulse
from runtime.trainer.exchange import PeerExchange
from runtime.trainer.trainer import Identity, Trainer

ADDRESS = "127.0.0.1:4000"


@dataclass
class Faults:
    """What spoils gradients, and by which factor."""

    device: dict[tuple[int, int], float] = field(default_factory=dict)
    """(rank, step) -> factor, once: a device that computed wrong."""
    data: Mapping[int, float] = field(default_factory=dict)
    """Cursor -> factor, whoever computes the batch that begins there, each time: samples that explode."""


class SpoiledEngine(DeviceEngine):
    """A device, and what is wrong with it."""

    rank: Rank
    faults: Faults
    device: DeviceThread
    begun = 0
    """Steps that were begun before they were ordered."""

    async def add_gradients(self, local: Local, batch: Batch) -> None:
        """See Engine."""
        await super().add_gradients(local, batch)
        factor = self.faults.device.pop((int(self.rank), int(batch.step)), 1.0)
        factor *= self.faults.data.get(int(batch.cursor), 1.0)
        if factor != 1.0:
            local.gradients = await self.device.run(tree_map, lambda value: value * factor, local.gradients)
            local.square_sum = local.ahead = None  # as if the device had computed this from the beginning

    async def begin_next(self, local: Local, batch: Batch) -> Local | None:
        """See Engine."""
        begun = await super().begin_next(local, batch)
        self.begun += begun is not None
        return begun


@dataclass
class _Writer:
    """Implements `engine.Writer`: the first of the writers saves everything at once."""

    rank: Rank
    root: Path
    device: DeviceThread
    trainer: Trainer | None = None

    async def write(self, engine: Engine, order: Order) -> None:
        """See Writer."""
        assert order.save is not None
        assert self.trainer is not None
        if order.save.writers[0] != self.rank:
            return
        snapshot, attempt = await engine.snapshot(), order.save.attempt
        provenance = Provenance("spoiled", "llama", "", "adamw", order.generation, (self.rank,))
        manifest = await self.device.run(write_checkpoint, snapshot, self.root / "checkpoints", provenance)
        path = f"checkpoints/step-{snapshot.step:08d}"
        self.trainer.report(CheckpointDone(snapshot.step, path, 1, 0.0, manifest.parameter_hash, attempt=attempt))

    async def seal(self, order: Seal) -> None:
        """See Writer. Nothing is ever in shares here."""


@dataclass
class SpoiledRun:
    """`await run()`, then look."""

    folder: Path
    """Holds tiny.toml and its data."""
    faults: Faults
    memory_bytes: int = 0
    """Of each device; with enough of it, work is begun before it is ordered."""
    begun: int = 0
    events: list[Event] = field(default_factory=list)
    ended: Finished | None = None
    ends: dict[int, Finish | Refused] = field(default_factory=dict)
    equipment: list[Equipment] = field(default_factory=list)
    _one_at_a_time: trio.Lock = field(default_factory=trio.Lock)

    async def run(self) -> SpoiledRun:
        """Train until the run is over."""
        self.config = load_config(self.folder / "tiny.toml")
        workers = self.config.parallel.workers
        plan = plan_of(self.config, workers)
        core = Core(plan, RestorePoint(Step(0), Cursor(0), ""), rate_of(self.config), self._announce)
        coordinator = Coordinator(core, "spoiled", self.events.append, trio.lowlevel.checkpoint)
        network = LoopbackNetwork()
        async with network.serve([coordinator.service], ADDRESS, name="coordinator"), trio.open_nursery() as nursery:
            for rank in range(workers):
                nursery.start_soon(self._worker, Rank(rank), network)
            self.ended = await coordinator.run()
        return self

    def of(self, kind: type[Any]) -> list[Any]:
        """Facts of a kind, in order."""
        return [event for event in self.events if isinstance(event, kind)]

    def audit(self) -> Audit:
        """What the ledger proves of it."""
        ledger = Ledger()
        for seq, event in enumerate(self.events, 1):
            ledger.feed(Envelope(seq, 1e9, ActorPath("run"), event))
        window = self.config.data.window if self.config.data.batching == "bucket" else 1
        return ledger.close(ReadingOrder(window * self.config.train.global_batch_size, 0.0))

    def _announce(self, at: Position, last: Step, samples: int) -> facts.RunStarted:
        batch = self.config.train.global_batch_size
        workers = self.config.parallel.workers
        return facts.RunStarted("spoiled", workers, Step(1), last, batch, "", "id", samples=samples)

    async def _worker(self, rank: Rank, network: LoopbackNetwork) -> None:
        async with open_device_thread() as device:
            async with self._one_at_a_time:  # transformers' chat templates are not for two threads
                equipment = await device.run(prepare, self.config, self.folder, int(rank))
            equipment.replica.memory_bytes = self.memory_bytes
            self.equipment.append(equipment)
            peer = Peer.open("127.0.0.1:0", RunId("spoiled"), rank)
            try:
                await self._train(rank, network, device, equipment, peer)
            finally:
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(peer.close)

    async def _train(
        self, rank: Rank, network: LoopbackNetwork, device: DeviceThread, equipment: Equipment, peer: Peer
    ) -> None:
        engine = SpoiledEngine(device, equipment.replica, equipment.held_out, self.folder, rank)
        engine.rank, engine.faults, engine.device = rank, self.faults, device
        deterministic = self.config.run.deterministic
        exchange = PeerExchange(peer, equipment.elements, equipment.shards, deterministic=deterministic)
        writer = _Writer(rank, self.folder, device)
        feeder = equipment.feeder()
        parts = Parts(engine, feeder, exchange, writer, Pulse(lambda step, phase: None))
        identity = Identity(
            run="spoiled", rank=rank, incarnation=Incarnation(1), peer_address=peer.address,
            samples_in_epoch=equipment.samples_in_epoch, data_fingerprint="tiny", host="here", device="cpu", pid=1,
        )  # fmt: skip
        writer.trainer = trainer = Trainer(identity, parts)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(feeder.run)
            async with network.connect(ADDRESS, name=f"worker-{rank}") as channel:
                async with open_session(channel, trainer.join()) as session:
                    self.ends[rank] = await trainer.serve(session)
            nursery.cancel_scope.cancel()
        self.begun += engine.begun
