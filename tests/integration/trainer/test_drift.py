"""A bit of one live replica flips: real replicas, real peers, a real coordinator over gRPC, all in one process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest
import trio

from runtime import events as facts
from runtime.cluster.coordinator import Coordinator
from runtime.cluster.core import Core
from runtime.cluster.messages import CheckpointDone, Order, RestorePoint, Seal
from runtime.cluster.plan import RunPlan
from runtime.cluster.session import open_session
from runtime.cluster.signals import Position
from runtime.collectives import Peer
from runtime.flow import Batch, StepOrder
from runtime.ids import Cursor, Incarnation, Rank, RunId, Step
from runtime.rpc import GrpcNetwork
from runtime.trainer.device_engine import DeviceEngine
from runtime.trainer.device_thread import DeviceThread, open_device_thread
from runtime.trainer.engine import Engine, Local, Parts, Pulse
from runtime.trainer.exchange import PeerExchange
from runtime.trainer.replica import Replica
from runtime.trainer.trainer import Identity, Trainer
from tests.unit.trainer.world import World

STEPS, WORKERS, SHARDS = 8, 3, 8
GUARD_SECONDS = 240.0
PLAN = RunPlan(WORKERS, 16, SHARDS, STEPS, 1.0, verify_every=1)


class FlippingEngine(DeviceEngine):
    """A device whose memory flips bit number `rank` of one parameter before it computes step `at`."""

    def __init__(self, device: DeviceThread, replica: Replica, rank: Rank, at: int) -> None:
        super().__init__(device, replica, None, Path(), rank)  # type: ignore[arg-type]  # nothing is held out here
        self._device, self._model, self._rank, self._at = device, replica, rank, at

    async def add_gradients(self, local: Local, batch: Batch) -> None:
        if local.step == self._at:
            self._at = -1
            await self._device.run(self._flip)
        await super().add_gradients(local, batch)

    def _flip(self) -> None:
        assert self._model.state is not None
        parameters = self._model.state.parameters
        name = sorted(parameters)[0]
        flat = parameters[name].flatten().view(mx.uint32)
        flat[0] = mx.bitwise_xor(flat[0], mx.array(1 << self._rank, mx.uint32))
        parameters[name] = flat.view(mx.float32).reshape(parameters[name].shape)
        mx.eval(parameters[name])


@dataclass
class WorldFeeder:
    """Implements `engine.Feeder`."""

    world: World

    def ready(self, order: StepOrder, rank: Rank) -> Batch | None:
        return None

    async def take(self, order: StepOrder, rank: Rank) -> Batch:
        await trio.lowlevel.checkpoint()
        return self.world.batch(order, rank)


@dataclass
class NoDisk:
    """Implements `engine.Writer`: says that everything was written."""

    rank: Rank
    trainer: Trainer | None = None

    async def write(self, engine: Engine, order: Order) -> None:
        assert order.save is not None
        if order.save.writers[0] == self.rank:
            assert self.trainer is not None
            digest = await engine.parameter_hash()
            self.trainer.report(CheckpointDone(order.state, "nowhere", 0, 0.0, digest, "", order.save.attempt))

    async def seal(self, order: Seal) -> None:
        raise AssertionError(f"nothing was cut: {order}")


@dataclass
class Run:
    """One training run in this process."""

    flips: Mapping[int, int] = field(default_factory=dict)
    """Rank -> the step before which one of its bits flips."""
    published: list[Any] = field(default_factory=list)
    hashes: list[str] = field(default_factory=list)
    """Parameter hash of every worker in the end."""

    async def play(self) -> Run:
        """From beginning to end."""
        with trio.fail_after(GUARD_SECONDS):
            async with open_device_thread() as device, GrpcNetwork.open(token="drift") as network:
                core = Core(PLAN, RestorePoint(Step(0), Cursor(0), ""), lambda update, last: 0.01, _announce)
                coordinator = Coordinator(core, "drift", self.published.append, trio.lowlevel.checkpoint)
                async with network.serve([coordinator.service], "127.0.0.1:0", name="coordinator") as server:
                    async with trio.open_nursery() as nursery:
                        for rank in range(WORKERS):
                            nursery.start_soon(self._worker, Rank(rank), device, network, server.address)
                        await coordinator.run()
        return self

    async def _worker(self, rank: Rank, device: DeviceThread, network: GrpcNetwork, address: str) -> None:
        world = await device.run(lambda: World(ranks=1, shards=SHARDS, deterministic=True))
        (replica,) = world.replicas
        await device.run(replica.forget)
        engine = FlippingEngine(device, replica, rank, self.flips.get(rank, -1))
        peer = Peer.open("127.0.0.1:0", RunId("drift"), rank)
        try:
            exchange = PeerExchange(peer, replica.update.layout.size, SHARDS, deterministic=True)
            writer = NoDisk(rank)
            who = Identity(
                "drift", rank, Incarnation(1), peer.address, len(world.dataset), "samples", "here", "cpu", pid=1
            )
            trainer = Trainer(who, Parts(engine, WorldFeeder(world), exchange, writer, Pulse(lambda *_: None)))
            writer.trainer = trainer
            async with network.connect(address, name=f"worker-{rank}") as channel:
                async with open_session(channel, trainer.join()) as session:
                    await trainer.serve(session)
            self.hashes.append(await engine.parameter_hash())
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(peer.close)


def _announce(at: Position, last: Step, samples: int) -> facts.RunStarted:
    return facts.RunStarted("drift", WORKERS, Step(at.step + 1), last, samples, "-")


@pytest.fixture(scope="module")
def undisturbed() -> str:
    run = trio.run(Run().play)
    (digest,) = set(run.hashes)
    return digest


async def test_a_flipped_bit_is_found_in_the_same_step_healed_and_leaves_no_trace(undisturbed: str) -> None:
    run = await Run({1: 4}).play()
    (drift,) = [fact for fact in run.published if isinstance(fact, facts.ReplicaDrifted)]
    assert (drift.rank, drift.step) == (1, 3)
    assert [fact.rank for fact in run.published if isinstance(fact, facts.StateHealed)] == [1]
    commits = [fact for fact in run.published if isinstance(fact, facts.StepCommitted)]
    assert [fact.step for fact in commits] == list(range(1, STEPS + 1))
    assert 1 not in commits[3].owners
    assert Counter(run.hashes) == {undisturbed: WORKERS}


async def test_three_that_all_differ_go_back_to_the_beginning_and_the_result_is_the_same(undisturbed: str) -> None:
    run = await Run({0: 4, 1: 4}).play()
    assert sorted(fact.rank for fact in run.published if isinstance(fact, facts.ReplicaDrifted)) == [0, 1, 2]
    assert [(fact.from_step, fact.to_step) for fact in run.published if isinstance(fact, facts.RolledBack)] == [(3, 0)]
    assert Counter(run.hashes) == {undisturbed: WORKERS}
