"""The trainer's arithmetic against a plain program that shares no code with it (`reference`)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from runtime.cluster.messages import Verdict
from runtime.ids import Cursor
from tests.unit.trainer.reference import Arrays, Plain, Sample, summed
from tests.unit.trainer.world import LEARNING_RATE, OPTIM, World, as_numpy, build, dataset_of_thirteen

STEPS = 20


def samples_of_step(world: World) -> list[Sample]:
    numbers = world.plan.samples(world.cursor, world.global_batch)
    return [world.dataset.sample(int(number)) for number in numbers]


def close(found: Arrays, expected: Arrays, *, relative: float, absolute: float = 0.0) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=relative, atol=absolute, err_msg=name)


def scale_of(gradients: Arrays) -> float:
    """The largest element: what rounding errors are relative to."""
    return max(float(np.abs(value).max()) for value in gradients.values())


@cache
def gradient_of_the_first_batch() -> tuple[float, int, Arrays]:
    return summed(build(), samples_of_step(World()))


@pytest.mark.parametrize("micro", [16, 8, 4, 2], ids=lambda micro: f"accumulation {16 // micro}")
@pytest.mark.parametrize("deterministic", [False, True])
def test_gradients_are_those_of_the_reference_whatever_the_accumulation(micro: int, deterministic: bool) -> None:
    world = World(shards=2 if deterministic else 8, micro=micro, deterministic=deterministic)
    order = world.order(1)
    loss_sum, tokens, expected = gradient_of_the_first_batch()
    local = world.locals(order)[0]
    found = world.replicas[0].update.layout.unflatten(
        world.replicas[0].update.layout.flatten(local.gradients[0, 2] if deterministic else local.gradients)
    )
    close(as_numpy(found), expected, relative=1e-5, absolute=1e-6 * scale_of(expected))
    assert sum(tally.tokens for tally in local.tallies.values()) == tokens
    assert sum(tally.loss_sum for tally in local.tallies.values()) == pytest.approx(loss_sum, rel=1e-5)


@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
@pytest.mark.parametrize("deterministic", [False, True])
def test_gradients_of_any_number_of_replicas_add_up_to_those_of_the_reference(ranks: int, deterministic: bool) -> None:
    world = World(ranks=ranks, deterministic=deterministic)
    _, _, expected = gradient_of_the_first_batch()
    total = world.sum(world.locals(world.order(1)))
    layout = world.replicas[0].update.layout
    pieces = np.split(total, layout.offsets[1:-1])
    found = {name: piece.reshape(shape) for name, shape, piece in zip(layout.names, layout.shapes, pieces, strict=True)}
    close(found, expected, relative=1e-5, absolute=1e-6 * scale_of(expected))


@dataclass(frozen=True)
class Trained:
    """What the reference did in twenty steps."""

    steps: list[tuple[float, int, float]]
    """(sum of losses, trained tokens, norm of the mean gradient) of each."""
    weights: Arrays
    farthest: float
    """The longest way that one weight went."""


@cache
def trained_reference() -> Trained:
    world = World()
    adam = Plain(build(), max_norm=world.max_grad_norm, decay=OPTIM.weight_decay)
    before = {name: value.copy() for name, value in adam.weights.items()}
    steps = []
    for _ in range(STEPS):
        loss_sum, tokens, gradients = summed(adam.model, samples_of_step(world))
        steps.append((loss_sum, tokens, adam.update(tokens, gradients, LEARNING_RATE)))
        world.cursor = Cursor(world.cursor + world.global_batch)
    return Trained(
        steps, adam.weights, max(float(np.abs(adam.weights[name] - value).max()) for name, value in before.items())
    )


@pytest.mark.parametrize(("micro", "ranks", "compiled"), [(16, 1, False), (16, 1, True), (2, 1, False), (4, 3, False)])
def test_twenty_steps_lead_to_the_parameters_of_the_reference(micro: int, ranks: int, compiled: bool) -> None:
    expected, world = trained_reference(), World(ranks=ranks, micro=micro, compiled=compiled)
    for step, (loss_sum, tokens, norm) in enumerate(expected.steps, start=1):
        committed = world.step(step).committed
        assert committed.tokens == tokens
        assert committed.loss_sum == pytest.approx(loss_sum, rel=1e-4)
        assert committed.grad_norm == pytest.approx(norm, rel=1e-3)
    for rank in range(ranks):
        close(world.parameters(rank), expected.weights, relative=1e-3, absolute=2e-3 * expected.farthest)


def test_the_loss_is_weighted_by_trained_tokens_and_not_by_rows() -> None:
    world = World()
    rows = [summed(build(), [one]) for one in samples_of_step(world)]
    mean_of_rows = np.mean([loss / tokens for loss, tokens, _ in rows])
    loss_sum, tokens, _ = gradient_of_the_first_batch()
    committed = world.step(1).committed
    assert committed.loss_sum / committed.tokens == pytest.approx(loss_sum / tokens, rel=1e-5)
    assert abs(committed.loss_sum / committed.tokens - mean_of_rows) > 1e-3


@pytest.mark.parametrize("deterministic", [False, True])
def test_a_shard_without_samples_counts_nothing(deterministic: bool) -> None:
    world = World(
        ranks=2, shards=8, global_batch=5, deterministic=deterministic, dataset=dataset_of_thirteen(), steps_per_run=2
    )
    _, tokens, expected = summed(build(), samples_of_step(world))
    locals_ = world.locals(world.order(1))
    empty = [shard for local in locals_.values() for shard, tally in local.tallies.items() if not tally.sample_ids]
    assert sorted(empty) == [5, 6, 7]
    assert all(locals_[1].tallies[shard].tokens == locals_[1].tallies[shard].loss_sum == 0 for shard in empty)
    close(
        as_numpy(world.replicas[0].update.layout.unflatten(as_mlx(world.sum(locals_)))),
        expected,
        relative=1e-5,
        absolute=1e-6 * scale_of(expected),
    )
    assert sum(tally.tokens for local in locals_.values() for tally in local.tallies.values()) == tokens


def test_the_norm_that_clips_is_that_of_one_process_when_shards_are_empty_too() -> None:
    """Clipped hard (to a hundredth), on any number of workers alike; some of them have no sample at all."""
    worlds = [
        World(ranks=ranks, shards=8, global_batch=5, dataset=dataset_of_thirteen(), steps_per_run=2, max_grad_norm=0.01)
        for ranks in (1, 2, 4)
    ]
    norms = [world.step(1).committed.grad_norm for world in worlds]
    assert norms == pytest.approx([norms[0]] * 3, rel=1e-6)
    assert norms[0] > 0.02
    for world in worlds[1:]:
        close(first_moments(world), first_moments(worlds[0]), relative=1e-5, absolute=1e-9)


def test_a_worker_with_empty_shards_only_adds_zeros() -> None:
    world = World(shards=8, global_batch=5, dataset=dataset_of_thirteen(), steps_per_run=2)
    order = world.order(1, owners=[1, 1, 1, 1, 1, 0, 0, 0])
    (flat,) = world.replicas[0].parts(world.locals(order)[0], (0, 1)).values()
    assert not np.any(flat)


def test_clipping_shortens_the_mean_gradient_to_the_limit_and_nothing_else() -> None:
    free, clipped, loose = (World(max_grad_norm=limit) for limit in (0.0, 1e-3, 1e6))
    verdicts = [world.step(1) for world in (free, clipped, loose)]
    assert len({verdict.committed.grad_norm for verdict in verdicts}) == 1
    norm = verdicts[0].committed.grad_norm
    assert norm > 1e-3
    for name, moment in first_moments(free).items():
        np.testing.assert_array_equal(moment, first_moments(loose)[name])
        np.testing.assert_allclose(first_moments(clipped)[name], moment * (1e-3 / norm), rtol=2e-3, atol=1e-12)


def test_the_rate_of_the_verdict_is_the_one_that_is_applied() -> None:
    still, moving = World(), World()
    before = still.parameters()
    still.step(1, rate=0.0)
    moving.step(1)
    np.testing.assert_equal(still.parameters(), before)
    assert any(np.any(value != before[name]) for name, value in moving.parameters().items())


def first_moments(world: World) -> Arrays:
    state = as_numpy(world.replicas[0].snapshot().optimizer)
    return {name: value for name, value in state.items() if name.startswith("m.")}


def as_mlx(flat: Any) -> mx.array:
    return mx.array(flat)


def test_a_verdict_names_the_update_that_the_bias_correction_counts() -> None:
    world = World()
    verdicts: list[Verdict] = [world.step(step) for step in (1, 2)]
    assert [verdict.update for verdict in verdicts] == [1, 2]
