"""The four actors of a worker, in start order: a trainer stops first and flushes into a writer that is still alive."""

from __future__ import annotations

import logging
import os

import trio

from runtime.actors.actor import Context
from runtime.app.bench import Bench, Contact
from runtime.app.writer_desk import WriterDesk
from runtime.checkpoint.retention import Keeping
from runtime.checkpoint.writer import MAILBOX_CAPACITY, checkpoint_writer
from runtime.cluster.grid import Grid
from runtime.cluster.messages import Refused
from runtime.cluster.session import open_session
from runtime.collectives import Peer
from runtime.collectives.point_to_point import PointToPoint
from runtime.errors import PeerLost, RunError, StaleGeneration, WorkerUnfit
from runtime.events import WorkerRetired
from runtime.ids import RunId
from runtime.models.device import default_kind
from runtime.rpc import GrpcNetwork
from runtime.supervision import ChildSpec, Restart, Strategy, Supervisor, SupervisorSpec
from runtime.trainer.device_engine import DeviceEngine
from runtime.trainer.engine import Parts
from runtime.trainer.exchange import PeerExchange
from runtime.trainer.identity import Identity
from runtime.trainer.neighbours import Neighbours
from runtime.trainer.precision import wire_dtype
from runtime.trainer.trainer import Trainer

RECONNECT_SECONDS = 0.1
LOG = logging.getLogger("mlx-distributed")


def worker_tree(bench: Bench) -> Supervisor:
    """The worker's supervisor. Its work is done when the trainer's is."""
    config = bench.equipment.config
    keeping = Keeping(
        keep_last=config.checkpoint.keep_last,
        keep_best=config.checkpoint.keep_best,
        metric=config.checkpoint.metric,
        mode=config.checkpoint.mode,
    )
    shutdown = config.supervision.shutdown_s
    writer = checkpoint_writer(bench.run_folder / "checkpoints", keeping)
    children = (
        ChildSpec("writer", writer, shutdown_seconds=shutdown, mailbox=MAILBOX_CAPACITY, address=bench.writer),
        ChildSpec("peer", lambda ctx: _peer(ctx, bench)),
        ChildSpec("feeder", lambda ctx: _feeder(ctx, bench)),
        ChildSpec("trainer", lambda ctx: _trainer(ctx, bench), Restart.TRANSIENT, significant=True),
    )
    return Supervisor(SupervisorSpec(children, Strategy.REST_FOR_ONE, intensity=0))


async def _peer(ctx: Context[None], bench: Bench) -> None:
    config = bench.equipment.config
    wire = wire_dtype(config, default_kind())
    host = config.cluster.listen.rpartition(":")[0]
    contact = await bench.contact()
    peer = Peer.open(
        f"{host}:0", RunId(contact.run_id), bench.rank, wire=wire, bucket_bytes=config.sync.bucket_mb << 20
    )
    try:
        bench.peer = peer
        if bench.equipment.replica.stage is not None:
            bench.port = PointToPoint.open(f"{host}:0", RunId(contact.run_id), bench.rank)
        ctx.ready()
        await ctx.stopping.wait()
    finally:
        with trio.CancelScope(shield=True):
            if bench.port is not None:
                await trio.to_thread.run_sync(bench.port.close)
            await trio.to_thread.run_sync(peer.close)


async def _feeder(ctx: Context[None], bench: Bench) -> None:
    feeder = bench.equipment.feeder()
    bench.feeder = feeder
    async with trio.open_nursery() as nursery:
        nursery.start_soon(feeder.run)
        ctx.ready()
        await ctx.stopping.wait()
        nursery.cancel_scope.cancel()


async def _trainer(ctx: Context[None], bench: Bench) -> None:
    """Join, serve, and join again, until the run is over, or this worker is no use to it.

    Raises what a restart of the process must answer.
    """
    equipment = bench.equipment
    assert bench.peer is not None  # rest_for_one: they were ready before this actor was started
    assert bench.feeder is not None
    engine = DeviceEngine(bench.device, equipment.replica, equipment.held_out, bench.run_folder, bench.rank, bench.emit)
    bench.engine = engine
    deterministic = equipment.config.run.deterministic
    neighbours = _neighbours(bench)
    exchange = PeerExchange(
        bench.peer, equipment.elements, equipment.shards, deterministic=deterministic, neighbours=neighbours
    )
    stages = equipment.config.parallel.pipeline
    parts = Parts(engine, bench.feeder, exchange, WriterDesk(bench), bench.pulse, stages)
    contact = await bench.contact()
    bench.trainer = Trainer(_identity(bench, contact), parts)
    ctx.ready()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_cancel_when_asked, ctx, bench, nursery.cancel_scope)
        async with GrpcNetwork.open(token=contact.token) as network:
            await _sessions(bench, bench.trainer, network)
        nursery.cancel_scope.cancel()


def _neighbours(bench: Bench) -> Neighbours | None:
    """The other stages of this worker's pipeline, known to its stage from now on; None where there is none."""
    stage = bench.equipment.replica.stage
    if stage is None or bench.port is None:
        return None
    stage.neighbours = Neighbours(bench.port, bench.rank, Grid(stage.stages))
    return stage.neighbours


async def _sessions(bench: Bench, trainer: Trainer, network: GrpcNetwork) -> None:
    while True:
        contact = await bench.contact()
        try:
            async with network.connect(contact.address, name=f"worker-{bench.rank}") as channel:
                async with open_session(channel, trainer.join()) as session:
                    end = await trainer.serve(session)
        except WorkerUnfit as unfit:
            LOG.error("leaving the run for good: %s", unfit)
            bench.emit(WorkerRetired(bench.rank, bench.incarnation, str(unfit)))
            return
        except StaleGeneration as stale:
            LOG.warning("joining anew: %s", stale)
        except PeerLost as lost:
            LOG.warning("the coordinator is gone, looking for its successor: %s", lost)
            bench.pulse.enter(bench.pulse.step, "looking for the coordinator")
            with trio.move_on_after(RECONNECT_SECONDS):
                await bench.contact(other_than=contact)
        else:
            if isinstance(end, Refused):
                raise RunError(f"the coordinator refused worker {bench.rank}: {end.reason}")
            await bench.tell_device()
            return


async def _cancel_when_asked(ctx: Context[None], bench: Bench, scope: trio.CancelScope) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_cancel_on, bench.done, nursery.cancel_scope)
        await ctx.stopping.wait()
        nursery.cancel_scope.cancel()
    scope.cancel()


async def _cancel_on(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


def _identity(bench: Bench, contact: Contact) -> Identity:
    equipment = bench.equipment
    assert bench.peer is not None
    return Identity(
        run=contact.run_id,
        rank=bench.rank,
        incarnation=bench.incarnation,
        peer_address=bench.peer.address,
        samples_in_epoch=equipment.samples_in_epoch,
        data_fingerprint=equipment.datasets.train.fingerprint,
        host=equipment.host,
        device=equipment.device,
        pid=os.getpid(),
        parameters=equipment.replica.elements,
        trained_parameters=equipment.replica.trained_elements,
        stage_address="" if bench.port is None else bench.port.address,
        is_away=bench.is_away,
    )
