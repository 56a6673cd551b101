"""Between a trainer and the checkpoint writer beside it: this worker's share of the state, into that one's mailbox."""

from __future__ import annotations

from collections.abc import Sequence

from runtime.app.bench import Bench
from runtime.checkpoint.manifest import Provenance
from runtime.checkpoint.shares import Share, StateSizes, share_out, share_out_sliced
from runtime.checkpoint.writer import SealCheckpoint, WriteCheckpoint
from runtime.cluster.grid import Grid
from runtime.cluster.messages import Order, Seal
from runtime.cluster.slices import senders
from runtime.ids import Rank
from runtime.models.base import base_name
from runtime.trainer.engine import Engine


def shares_of(sizes: StateSizes, order: Order) -> tuple[Share, ...]:
    """What each of the order's writers writes, the same on all of them.

    A sharded optimizer's slices are written by the writers that hold them (all of them on one host, as yet).
    """
    assert order.save is not None
    writers = order.save.writers
    if not order.holders:
        return share_out(sizes, len(writers))
    speaker = senders(tuple(tuple(rank for rank in have if rank in writers) for have in order.holders))
    slices = [[index for index, rank in enumerate(speaker) if rank == writer] for writer in writers]
    return share_out_sliced(sizes.parameters, slices)


def shares_of_stage(sizes: StateSizes, writers: Sequence[Rank], rank: Rank, grid: Grid) -> tuple[Share, ...]:
    """A share for every writer, as the stage of `rank` knows them: its twins among them write it, and what the writers
    of other stages write is left empty here."""
    twins = grid.twins(rank, writers)
    own = dict(zip(twins, share_out(sizes, len(twins)), strict=False))
    return tuple(own.get(writer, Share()) for writer in writers)


class WriterDesk:
    """Implements `engine.Writer`: a worker's share of the state into the writer's mailbox."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    async def write(self, engine: Engine, order: Order) -> None:
        """See Writer."""
        bench, config, save = self._bench, self._bench.equipment.config, order.save
        assert save is not None
        await bench.tell_device()
        grid = Grid(config.parallel.pipeline)
        if grid.stages == 1:
            shares = shares_of(engine.sizes(), order)
        else:
            shares = shares_of_stage(engine.sizes(), save.writers, bench.rank, grid)
        index = save.writers.index(bench.rank)
        if index >= len(shares):
            return
        provenance = Provenance(
            run=bench.run_folder.name,
            architecture=str(bench.equipment.loaded.config["model_type"]),
            config_hash=bench.config_hash,
            optimizer=config.optim.name,
            generation=order.generation,
            ranks=tuple(member.rank for member in order.members),
            base=base_name(config.model),
            base_hash=bench.equipment.loaded.base_hash,
        )
        await bench.writer.ref.tell(
            WriteCheckpoint(
                await engine.snapshot(shares[index]),
                provenance,
                order.metrics,
                attempt=save.attempt,
                share=index,
                shares=len(shares),
            )
        )

    async def seal(self, order: Seal) -> None:
        """See Writer."""
        await self._bench.writer.ref.tell(SealCheckpoint(order.step, order.attempt, order.files))
