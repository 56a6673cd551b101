"""What must not change a single bit: the number of replicas, a takeover, a skip, a snapshot, a restart."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from runtime.cluster.messages import Verdict
from runtime.errors import ModelError
from runtime.flow import CommittedStep, Snapshot
from runtime.ids import Cursor, Rank, Step
from runtime.trainer.engine import Local
from tests.unit.trainer.world import LEARNING_RATE, World, bits, dataset_of_thirteen

STEPS = 5


def train(world: World, first: int, last: int) -> dict[str, bytes]:
    """Every bit of the state of every rank after these steps; all ranks must agree."""
    for step in range(first, last + 1):
        world.step(step)
    states = [state_bits(world.replicas[rank].snapshot()) for rank in range(world.ranks)]
    assert all(state == states[0] for state in states)
    return states[0]


def state_bits(snapshot: Snapshot) -> dict[str, bytes]:
    return bits({**snapshot.parameters, **snapshot.optimizer})


@pytest.mark.parametrize(("compiled", "others"), [(False, (2, 3, 4)), (True, (2,))])
def test_deterministic_bits_do_not_depend_on_the_number_of_replicas(compiled: bool, others: tuple[int, ...]) -> None:
    alone = train(World(ranks=1, deterministic=True, compiled=compiled), 1, STEPS)
    for ranks in others:
        assert train(World(ranks=ranks, deterministic=True, compiled=compiled), 1, STEPS) == alone


def test_deterministic_bits_do_not_depend_on_who_owns_which_shard() -> None:
    orderly, shuffled = World(ranks=3, deterministic=True), World(ranks=3, deterministic=True)
    owners = [[2, 0, 1, 0, 0, 2, 1, 1], [0, 0, 0, 0, 0, 0, 0, 1], [1, 1, 1, 1, 2, 2, 2, 2]]
    for step, dealt in enumerate(owners, start=1):
        orderly.step(step)
        shuffled.step(step, owners=dealt)
    assert state_bits(orderly.replicas[0].snapshot()) == state_bits(shuffled.replicas[2].snapshot())


def test_otherwise_replicas_change_the_result_by_rounding_only() -> None:
    worlds = [World(ranks=ranks) for ranks in (1, 2, 3, 4)]
    for step in range(1, 4):
        losses = [world.step(step).committed.loss_sum for world in worlds]
        assert losses == pytest.approx([losses[0]] * 4, rel=1e-5)
    for world in worlds[1:]:
        train(world, 4, 4)  # asserts that its own ranks agree to the bit


@pytest.mark.parametrize("deterministic", [False, True])
def test_taking_over_shards_in_the_middle_of_a_step_gives_the_same_sum(deterministic: bool) -> None:
    world = World(deterministic=deterministic)
    (replica,) = world.replicas
    whole = Local(Step(1))
    replica.add_gradients(whole, world.batch(world.order(1), 0))
    taken = Local(Step(1))
    for owners in ([1, 0, 0, 1, 1, 1, 0, 1], [0, 1, 1, 1, 1, 0, 1, 0], [1, 1, 1, 0, 0, 1, 1, 1]):
        replica.add_gradients(taken, world.batch(world.order(1, owners), 0))
    assert taken.tallies.keys() == whole.tallies.keys()
    found, expected = (np.array(*replica.parts(local, (0, 1)).values()) for local in (taken, whole))
    if deterministic:
        assert found.tobytes() == expected.tobytes()
        assert taken.tallies == whole.tallies
    else:
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
    assert taken.useful_tokens == whole.useful_tokens
    assert taken.computed_positions >= whole.computed_positions


def test_a_partial_sum_is_kept_for_each_maximal_node_of_the_tree() -> None:
    world = World(ranks=2, deterministic=True)
    local = world.locals(world.order(1, owners=[1, 0, 0, 0, 0, 0, 1, 1]))[0]
    assert set(world.replicas[0].parts(local, (0, 1))) == {(1, 1), (2, 2), (4, 2)}


@pytest.mark.parametrize("poison", [math.nan, math.inf])
@pytest.mark.parametrize("ranks", [1, 2])
def test_a_step_that_is_not_finite_is_skipped_and_leaves_every_bit(poison: float, ranks: int) -> None:
    world = World(ranks=ranks)
    world.step(1)
    before = state_bits(world.replicas[0].snapshot())
    order = world.order(2)
    locals_ = world.locals(order)
    summed = np.array(world.sum(locals_))
    summed[7] = poison
    measured = [replica.measure(locals_[rank], summed) for rank, replica in enumerate(world.replicas)]
    assert not any(one.finite for one in measured)
    verdict, _ = world.verdict(order, locals_, measured)
    assert not verdict.committed.applied
    for replica in world.replicas:
        replica.apply(verdict, Cursor(48), {"skipped": 1})
        snapshot = replica.snapshot()
        assert state_bits(snapshot) == before
        assert (snapshot.step, snapshot.cursor, snapshot.counters) == (2, 48, {"skipped": 1})
        assert not replica.prepared


def test_a_snapshot_stays_what_it_was_while_training_goes_on() -> None:
    world = World()
    world.step(1)
    held = world.replicas[0].snapshot()
    before = state_bits(held)
    train(world, 2, STEPS)
    assert state_bits(held) == before
    assert state_bits(world.replicas[0].snapshot()) != before
    assert (held.step, held.cursor) == (1, 16)


@pytest.mark.parametrize("deterministic", [False, True])
def test_a_resumed_run_is_the_uninterrupted_one_to_the_bit(deterministic: bool) -> None:
    uninterrupted = World(deterministic=deterministic)
    resumed = World(deterministic=deterministic)
    expected = train(uninterrupted, 1, STEPS)
    train(resumed, 1, 2)
    saved = resumed.replicas[0].snapshot()
    resumed.replicas = [resumed.new_replica()]
    size_bytes = resumed.replicas[0].adopt(saved)
    assert size_bytes == sum(value.nbytes for value in (*saved.parameters.values(), *saved.optimizer.values()))
    assert state_bits(resumed.replicas[0].snapshot()) == state_bits(saved)
    assert train(resumed, 3, STEPS) == expected


def test_a_state_of_numpy_arrays_is_adopted_with_every_bit() -> None:
    world = World()
    world.step(1)
    saved = world.replicas[0].snapshot()
    host = Snapshot(
        saved.step,
        saved.cursor,
        {name: np.array(value) for name, value in saved.parameters.items()},
        {name: np.array(value) for name, value in saved.optimizer.items()},
    )
    other = world.new_replica()
    other.adopt(host)
    assert state_bits(other.snapshot()) == state_bits(saved)


def test_a_state_of_another_model_is_refused_by_the_name_of_what_does_not_fit() -> None:
    world = World()
    saved = world.replicas[0].snapshot()
    short = {name: value for name, value in saved.parameters.items() if name != "model.norm.weight"}
    other = world.new_replica()
    with pytest.raises(ModelError, match=r"the state of step 0 belongs to another model: model\.norm\.weight"):
        other.adopt(Snapshot(Step(0), Cursor(0), short, saved.optimizer))
    wide = {**saved.parameters, "model.norm.weight": np.zeros(17, np.float32)}
    with pytest.raises(ModelError, match=r"model\.norm\.weight does not fit"):
        other.adopt(Snapshot(Step(0), Cursor(0), wide, saved.optimizer))
    assert other.state is None


def test_a_replica_that_forgot_its_state_begins_again_with_the_initial_bits() -> None:
    world = World()
    replica = world.replicas[0]
    initial = state_bits(replica.snapshot())
    train(world, 1, 2)
    replica.measure(world.locals(world.order(3))[0], None)
    replica.forget()
    assert replica.state is None
    assert not replica.prepared
    with pytest.raises(RuntimeError, match="no state: restore or adopt one first"):
        replica.snapshot()
    assert replica.begin() > 0
    assert state_bits(replica.snapshot()) == initial


def test_a_worker_without_a_part_of_the_step_brings_none() -> None:
    assert World().replicas[0].parts(Local(Step(1)), (0, 1)) == {}


def test_a_step_is_applied_only_by_its_verdict() -> None:
    world = World()
    replica = world.replicas[0]
    before = state_bits(replica.snapshot())
    order = world.order(1)
    locals_ = world.locals(order)
    measured = replica.measure(locals_[0], None)
    assert state_bits(replica.snapshot()) == before
    assert list(replica.prepared) == [1]
    committed = CommittedStep(Step(1), True, 10, 1.0, math.sqrt(measured.square_sum) / 10)
    replica.apply(Verdict(committed, LEARNING_RATE, 1), Cursor(16), {})
    assert state_bits(replica.snapshot()) != before
    assert list(replica.prepared) == []


def test_the_summed_gradient_is_measured_alike_whether_it_travelled_or_not() -> None:
    for deterministic in (False, True):
        world = World(deterministic=deterministic)
        local = world.locals(world.order(1))[0]
        at_home = world.replicas[0].measure(local, None)
        travelled = world.replicas[0].measure(local, world.sum({0: local}))
        assert at_home == travelled


def test_a_failing_batch_leaves_the_local_part_as_it_was() -> None:
    world = World(deterministic=True)
    (replica,) = world.replicas
    order = world.order(1, owners=[0, 1, 0, 1, 0, 1, 0, 1])
    local = Local(Step(1))
    replica.add_gradients(local, world.batch(order, 0))
    before = bits(replica.parts(local, (0, 1))), dict(local.tallies), local.useful_tokens
    broken = world.batch(world.order(1, owners=[0] * 8), 0)  # shard 0 is done already: it cannot be added twice
    with pytest.raises(ValueError, match="not to the right"):
        replica.add_gradients(local, broken)
    assert (bits(replica.parts(local, (0, 1))), local.tallies, local.useful_tokens) == before


def test_a_short_last_batch_leaves_shards_empty_and_every_rank_the_same() -> None:
    worlds = [World(ranks=ranks, shards=8, global_batch=5, deterministic=True, dataset=dataset_of_thirteen(),
                    steps_per_run=2) for ranks in (1, 4)]  # fmt: skip
    assert train(worlds[0], 1, 2) == train(worlds[1], 1, 2)


def test_ranks_are_dealt_neighbouring_shards() -> None:
    assert World(ranks=4).owners() == tuple(Rank(rank) for rank in (0, 0, 1, 1, 2, 2, 3, 3))


def test_an_update_is_clipped_to_the_verdict_s_norm_where_that_is_the_smaller_one() -> None:
    """The ladder's limit beside train.max_grad_norm: the smaller one counts."""
    found = []
    for clip_norm, max_grad_norm in ((0.0, 0.01), (0.01, 0.0), (0.01, 0.5)):
        world = World(max_grad_norm=max_grad_norm)
        order = world.order(1)
        locals_ = world.locals(order)
        measured = [world.replicas[0].measure(locals_[0], None)]
        verdict, counters = world.verdict(order, locals_, measured)
        committed = replace(verdict.committed, clip_norm=clip_norm)
        assert committed.grad_norm > 0.01
        world.replicas[0].apply(replace(verdict, committed=committed), world.cursor, counters)
        found.append(bits(world.parameters()))
    assert found[0] == found[1] == found[2]
