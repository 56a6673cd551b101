"""A run that goes on with another number of workers: real replicas, real checkpoints in as many shares as writers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from runtime.app.writer_desk import shares_of
from runtime.checkpoint import draft
from runtime.checkpoint.manifest import Provenance
from runtime.checkpoint.reader import load, verify
from runtime.checkpoint.shares import share_out
from runtime.cluster.messages import Save
from runtime.cluster.slices import held_by
from runtime.flow import Snapshot
from runtime.ids import Generation, Rank
from tests.unit.trainer.sharded_world import ShardedWorld
from tests.unit.trainer.world import World, bits

LEGS = (4, 3, 1, 2)
STEPS_OF_A_LEG = 3
STEPS = len(LEGS) * STEPS_OF_A_LEG


def save(world: World, root: Path, generation: int) -> Path:
    """Every rank writes its share of its own copy of the state; the first one seals."""
    shares = share_out(world.replicas[0].sizes(), world.ranks, 1)
    attempt = f"{generation}-1"
    files = []
    for index, replica in enumerate(world.replicas):
        assert share_out(replica.sizes(), world.ranks, 1) == shares
        files.append(draft.write_share(replica.snapshot(shares[index]), root, attempt, index))
    state = world.replicas[0].snapshot()
    provenance = Provenance("legs", "llama", "", "adamw", Generation(generation), tuple(map(Rank, range(world.ranks))))
    about = draft.Inscription(state.step, state.cursor, state.counters, {}, provenance)
    draft.seal(root, attempt, about, tuple(file for entries in files for file in entries))
    folder = root / f"step-{state.step:08d}"
    assert len(verify(folder).files) == 2 * world.ranks
    return folder


def resumed(folder: Path, ranks: int, *, deterministic: bool) -> World:
    """A world whose replicas have all loaded the checkpoint."""
    world = World(ranks=ranks, deterministic=deterministic)
    for replica in world.replicas:
        state: Snapshot = load(folder)
        replica.adopt(state)
    world.cursor, world.counters = state.cursor, state.counters
    return world


def in_legs(root: Path, *, deterministic: bool) -> tuple[list[float], World]:
    """The losses of the whole run, each leg by other replicas."""
    world, losses, folder = World(ranks=LEGS[0], deterministic=deterministic), [], None
    for leg, ranks in enumerate(LEGS):
        if folder is not None:
            world = resumed(folder, ranks, deterministic=deterministic)
        first = leg * STEPS_OF_A_LEG + 1
        losses += [world.step(step).committed.loss_sum for step in range(first, first + STEPS_OF_A_LEG)]
        folder = save(world, root, generation=leg + 1)
    return losses, world


def save_sharded(world: ShardedWorld, root: Path, generation: int) -> Path:
    """Every rank writes the slices that it answers for and some of the parameters; the first one seals."""
    order = world.boundary(world.holders, range(world.ranks))
    attempt, writers = f"{generation}-1", tuple(map(Rank, range(world.ranks)))
    shares = shares_of(world.replicas[0].sizes(), replace(order, save=Save(attempt, writers)))
    files = [
        draft.write_share(replica.snapshot(share), root, attempt, index)
        for index, (replica, share) in enumerate(zip(world.replicas, shares, strict=True))
    ]
    state = world.replicas[0].snapshot()
    provenance = Provenance("legs", "llama", "", "adamw", Generation(generation), writers)
    about = draft.Inscription(state.step, state.cursor, state.counters, {}, provenance)
    draft.seal(root, attempt, about, tuple(file for entries in files for file in entries))
    verify(root / f"step-{state.step:08d}")
    return root / f"step-{state.step:08d}"


def resumed_sharded(folder: Path, ranks: int, copies: int) -> ShardedWorld:
    """A sharded world whose replicas have loaded their slices of the checkpoint."""
    world = ShardedWorld(ranks=ranks, copies=copies, deterministic=True)
    for rank, replica in enumerate(world.replicas):
        state = load(folder)
        replica.adopt(state, held_by(Rank(rank), world.holders))
    world.cursor, world.counters = state.cursor, state.counters
    return world


def test_sharded_then_not_then_sharded_otherwise_learns_bit_by_bit_what_one_worker_learns(tmp_path: Path) -> None:
    alone = World(deterministic=True)
    for step in range(1, 9):
        alone.step(step)
    first = ShardedWorld(ranks=4, copies=2, deterministic=True)
    for step in (1, 2):
        first.step(step)
    second = resumed(save_sharded(first, tmp_path, 1), 2, deterministic=True)
    for step in (3, 4):
        second.step(step)
    third = resumed_sharded(save(second, tmp_path, 2), 3, 1)
    for step in (5, 6):
        third.step(step)
    fourth = resumed_sharded(save_sharded(third, tmp_path, 3), 2, 2)
    for step in (7, 8):
        fourth.step(step)
    assert bits(fourth.parameters(1)) == bits(alone.parameters())
    assert bits(fourth.optimizer()) == bits(alone.replicas[0].snapshot().optimizer)


@pytest.mark.parametrize("deterministic", [True, False])
def test_4_then_3_then_1_then_2_workers_learn_what_one_worker_learns(deterministic: bool, tmp_path: Path) -> None:
    alone = World(deterministic=deterministic)
    expected = [alone.step(step).committed.loss_sum for step in range(1, STEPS + 1)]
    losses, world = in_legs(tmp_path, deterministic=deterministic)
    assert losses == pytest.approx(expected, rel=1e-5)
    if deterministic:
        assert losses == expected
        states = [each.replicas[0].snapshot() for each in (world, alone)]
        assert bits(states[0].parameters) == bits(states[1].parameters)
        assert bits(states[0].optimizer) == bits(states[1].optimizer)
