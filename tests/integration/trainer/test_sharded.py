"""A sharded run loses each of its workers once: real replicas, real peers, a real coordinator, all in one process."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import trio

from runtime import events as facts
from runtime.checkpoint.hashing import parameter_hash
from runtime.cluster.coordinator import Coordinator
from runtime.cluster.core import Core
from runtime.cluster.messages import Order, RestorePoint
from runtime.cluster.plan import RunPlan
from runtime.cluster.session import open_session
from runtime.cluster.signals import Position
from runtime.collectives import Peer
from runtime.errors import PeerLost, StaleGeneration
from runtime.flow import Array, Batch
from runtime.ids import Cursor, Incarnation, Rank, RunId, Step
from runtime.rpc import GrpcNetwork
from runtime.trainer.device_engine import DeviceEngine
from runtime.trainer.device_thread import DeviceThread, open_device_thread
from runtime.trainer.engine import Engine, Local, Parts, Pulse
from runtime.trainer.exchange import PeerExchange
from runtime.trainer.replica import Replica
from runtime.trainer.trainer import Identity, Trainer
from tests.integration.trainer.test_drift import NoDisk, WorldFeeder
from tests.unit.trainer.sharded_world import SLICES, ShardedWorld
from tests.unit.trainer.world import World

STEPS, WORKERS, SHARDS, RATE = 24, 3, 8, 0.01
GUARD_SECONDS = 240.0
PLAN = RunPlan(WORKERS, 16, SHARDS, STEPS, 1.0, verify_every=1, slices=SLICES)


class PatientDisk(NoDisk):
    """Says that the last state was written once every worker has all of it: the run ends then, and no earlier."""

    def __init__(self, rank: Rank, run: Run) -> None:
        super().__init__(rank)
        self._run = run

    async def write(self, engine: Engine, order: Order) -> None:
        await self._run.all_whole.wait()
        await super().write(engine, order)


class MortalEngine(DeviceEngine):
    """A device whose process is killed before it computes some step."""

    def __init__(self, device: DeviceThread, replica: Replica, rank: Rank, run: Run, death: trio.CancelScope) -> None:
        super().__init__(device, replica, None, Path(), rank)  # type: ignore[arg-type]  # nothing is held out here
        self._run, self._own_rank, self._death = run, rank, death

    async def add_gradients(self, local: Local, batch: Batch) -> None:
        if self._run.may_die(self._own_rank, local.step):
            self._death.cancel()
        await trio.lowlevel.checkpoint()
        await super().add_gradients(local, batch)

    async def complete(self, order: Order, vector: Array) -> int:
        size_bytes = await super().complete(order, vector)
        if order.state == STEPS:
            self._run.whole.add(self._own_rank)
        if len(self._run.whole) == WORKERS:
            self._run.all_whole.set()
        return size_bytes


@dataclass
class Run:
    """One sharded training run in this process."""

    deterministic: bool = True
    """Else slices of a sum reach their keepers alone."""
    dead: list[Rank] = field(default_factory=list)
    published: list[Any] = field(default_factory=list)
    hashes: list[str] = field(default_factory=list)
    """Parameter hash of every worker in the end."""
    whole: set[Rank] = field(default_factory=set)
    """Who has all parameters of the last state."""
    all_whole: trio.Event = field(default_factory=trio.Event)

    def may_die(self, rank: Rank, step: Step) -> bool:
        """Whether it is this rank's turn, and whoever died before has its slices back since a committed step."""
        healed = [fact.step for fact in self.published if isinstance(fact, facts.StateHealed)]
        whole = len(healed) == len(self.dead) and step >= max([2, *(at + 3 for at in healed)])
        if rank != len(self.dead) or not whole:
            return False
        self.dead.append(rank)
        return True

    async def play(self) -> Run:
        """From beginning to end."""
        with trio.fail_after(GUARD_SECONDS):
            async with open_device_thread() as device, GrpcNetwork.open(token="sharded") as network:
                core = Core(PLAN, RestorePoint(Step(0), Cursor(0), ""), lambda update, last: RATE, _announce)
                coordinator = Coordinator(core, "sharded", self.published.append, trio.lowlevel.checkpoint)
                async with network.serve([coordinator.service], "127.0.0.1:0", name="coordinator") as server:
                    async with trio.open_nursery() as nursery:
                        for rank in range(WORKERS):
                            nursery.start_soon(self._slot, Rank(rank), device, network, server.address)
                        await coordinator.run()
        return self

    async def _slot(self, rank: Rank, device: DeviceThread, network: GrpcNetwork, address: str) -> None:
        for incarnation in count(1):
            with trio.CancelScope() as death:
                await self._life(rank, Incarnation(incarnation), device, network, address, death)
                return

    async def _life(
        self, rank: Rank, incarnation: Incarnation, device: DeviceThread, network: GrpcNetwork, address: str,
        death: trio.CancelScope,
    ) -> None:  # fmt: skip
        flags = {"shards": SHARDS, "deterministic": self.deterministic}
        world = await device.run(lambda: ShardedWorld(ranks=1, **flags))
        (replica,) = world.replicas
        await device.run(replica.forget)
        engine = MortalEngine(device, replica, rank, self, death)
        peer = Peer.open("127.0.0.1:0", RunId("sharded"), rank)
        try:
            exchange = PeerExchange(peer, replica.update.layout.size, SHARDS, deterministic=self.deterministic)
            writer = PatientDisk(rank, self)
            who = Identity(
                "sharded", rank, incarnation, peer.address, len(world.dataset), "samples", "here", "cpu", pid=1
            )
            trainer = Trainer(who, Parts(engine, WorldFeeder(world), exchange, writer, Pulse(lambda *_: None)))
            writer.trainer = trainer
            await self._serve(trainer, network, address, rank)
            self.hashes.append(await engine.parameter_hash())
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(peer.close)

    async def _serve(self, trainer: Trainer, network: GrpcNetwork, address: str, rank: Rank) -> None:
        while True:
            try:
                async with network.connect(address, name=f"worker-{rank}") as channel:
                    async with open_session(channel, trainer.join()) as session:
                        await trainer.serve(session)
                        return
            except (PeerLost, StaleGeneration):
                await trio.lowlevel.checkpoint()


def _announce(at: Position, last: Step, samples: int) -> facts.RunStarted:
    return facts.RunStarted("sharded", WORKERS, Step(at.step + 1), last, samples, "-")


def unsharded() -> str:
    """The parameters' hash of the same run on one device that keeps all of the optimizer's state."""
    world = World(shards=SHARDS, deterministic=True)
    for step in range(1, STEPS + 1):
        world.step(step, rate=RATE)
    return parameter_hash(world.replicas[0].snapshot().parameters)


async def test_each_worker_is_killed_once_nothing_is_rolled_back_and_the_parameters_are_the_same() -> None:
    run = await Run().play()
    assert run.dead == [0, 1, 2]
    assert [fact for fact in run.published if isinstance(fact, facts.RolledBack)] == []
    assert [fact.rank for fact in run.published if isinstance(fact, facts.StateHealed)] == [0, 1, 2]
    commits = [fact.step for fact in run.published if isinstance(fact, facts.StepCommitted)]
    assert commits == list(range(1, STEPS + 1))
    assert run.hashes == [unsharded()] * WORKERS


async def test_the_same_where_each_worker_gets_the_slices_of_the_sum_that_it_keeps_and_no_others() -> None:
    run = await Run(deterministic=False).play()
    assert run.dead == [0, 1, 2]
    assert [fact for fact in run.published if isinstance(fact, facts.RolledBack)] == []
    commits = [fact for fact in run.published if isinstance(fact, facts.StepCommitted)]
    assert [fact.step for fact in commits] == list(range(1, STEPS + 1))
    assert len(set(run.hashes)) == 1
    alone = World(shards=SHARDS)
    expected = [alone.step(step, rate=RATE).committed for step in range(1, STEPS + 1)]
    for fact, one in zip(commits, expected, strict=True):
        assert fact.loss == pytest.approx(one.loss_sum / one.tokens, rel=1e-3)
        assert fact.grad_norm == pytest.approx(one.grad_norm, rel=1e-2)
