"""Steps of a pipeline of replicas are those of one replica that holds everything."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from runtime.checkpoint.shares import Share, StateSizes
from runtime.cluster.loss_scale import LossScale
from runtime.config.model import AdapterSettings, ScratchSettings
from runtime.data.batches import eval_micros
from runtime.errors import ModelError
from runtime.models.adapter import attach
from runtime.models.anatomy import examine
from runtime.models.scratch import build_model, scratch_config
from runtime.pipeline.actions import SCHEDULE_NAMES
from runtime.pipeline.partition import Partition
from runtime.trainer.stage_part import StagePart
from tests.unit.trainer.staged_world import StagedWorld, staged
from tests.unit.trainer.world import VOCABULARY, World

STEPS = 3


def model(*, tied: bool = True, layers: int = 4, dtype: mx.Dtype = mx.float32) -> Any:
    scratch = ScratchSettings(
        hidden_size=16, num_hidden_layers=layers, num_attention_heads=2, intermediate_size=24,
        tie_word_embeddings=tied,
    )  # type: ignore[call-arg]  # fmt: skip  # further keys are the architecture's
    config = scratch_config(scratch, vocab_size=VOCABULARY, eos_token_ids=[1], pad_token_id=0)
    made = build_model(config, seed=3)
    made.set_dtype(dtype)
    return made


def after(world: World, steps: int = STEPS) -> tuple[list[float], dict[str, Any]]:
    losses = [world.step(step).committed.loss_sum for step in range(1, steps + 1)]
    found = world.everything() if isinstance(world, StagedWorld) else world.parameters()
    return losses, found


def assert_alike(found: tuple[list[float], dict[str, Any]], expected: tuple[list[float], dict[str, Any]]) -> None:
    assert found[0] == pytest.approx(expected[0], rel=1e-5)
    assert found[1].keys() == expected[1].keys()
    for name, value in expected[1].items():
        np.testing.assert_allclose(found[1][name], value, rtol=1e-5, atol=2e-6, err_msg=name)


def same_steps(expected: World, **fields: Any) -> bool:
    """Whether the pipelines of a grid hold the same bits in the end; that these are what one replica has is asserted on
    the way, name by name."""
    wanted = after(expected)
    with staged(**fields) as world:
        assert_alike(after(world), wanted)
        groups = [world.everything(group) for group in range(world.ranks // world.stages)]
    held = [{name: each.tobytes() for name, each in group.items()} for group in groups]
    return all(each == held[0] for each in held)


@pytest.mark.parametrize(
    ("pipelines", "stages", "schedule", "tied"),
    [(1, 3, "zb-h1", False), (2, 2, "interleaved", True)],
)
def test_steps_of_a_grid_are_those_of_one_replica(pipelines: int, stages: int, schedule: Any, tied: bool) -> None:
    def make() -> Any:
        return model(tied=tied)

    shape = {"ranks": pipelines * stages, "stages": stages, "schedule": schedule}
    assert same_steps(World(build=make, micro=4), build=make, micro=4, **shape)


@pytest.mark.opt_in
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("schedule", SCHEDULE_NAMES)
@pytest.mark.parametrize(("pipelines", "stages"), [(1, 2), (1, 4), (2, 2), (3, 2)])
@pytest.mark.parametrize("deterministic", [False, True])
def test_every_schedule_on_every_grid(pipelines: int, stages: int, schedule: Any, deterministic: bool) -> None:
    def make() -> Any:
        return model(layers=8)

    shape = {"ranks": pipelines * stages, "stages": stages, "schedule": schedule, "deterministic": deterministic}
    assert same_steps(World(build=make, deterministic=deterministic, micro=2), build=make, micro=2, **shape)


def test_in_a_deterministic_run_the_number_of_pipelines_does_not_show_in_a_single_bit() -> None:
    found = []
    for pipelines in (1, 2):
        with staged(ranks=2 * pipelines, deterministic=True, build=model) as world:
            found.append({name: each.tobytes() for name, each in after(world, 2)[1].items()})
    assert found[0] == found[1]


def test_layers_that_are_computed_again_and_adapters_with_dropout_change_nothing() -> None:
    def make() -> Any:
        made = model(tied=False)
        attach(made, AdapterSettings(type="lora", rank=2, dropout=0.3), 5, "float32")
        return made

    assert same_steps(
        World(build=make, base_hash="base"), build=make, base_hash="base", ranks=2, recompute="layer", schedule="gpipe"
    )


def test_a_scaled_loss_of_16_bit_parameters_gives_the_same_steps() -> None:
    def make() -> Any:
        return model(dtype=mx.float16)

    fields = {"build": make, "dtype": mx.float16, "loss_scale": LossScale(initial=2.0**10)}
    wanted = after(World(**fields), 2)
    with staged(ranks=2, **fields) as world:
        losses, parameters = after(world, 2)
    assert losses == pytest.approx(wanted[0], rel=1e-5)
    for name, value in wanted[1].items():  # stored in 16 bit: a last bit may fall the other way
        np.testing.assert_allclose(parameters[name], value.astype(np.float32), rtol=2e-3, atol=1e-5, err_msg=name)


def test_held_out_losses_come_from_the_last_stage_and_are_those_of_the_whole_model() -> None:
    plain = World(build=model)
    micros = eval_micros(plain.dataset, 0, 1, plain.shaping)
    replica = plain.replicas[0]
    found = [replica.functions.judge(replica.trained, each.tokens_BT, each.mask_BT) for each in micros]
    for schedule in ("1f1b", "interleaved"):
        with staged(ranks=2, schedule=schedule, build=model) as world:
            first, last = world.held_out(0)
        assert first == (0.0, 0.0)
        assert last[0] == pytest.approx(sum(losses.sum().item() for losses, _ in found), rel=1e-5)
        assert last[1] == sum(right.sum().item() for _, right in found)


def test_every_tensor_of_a_tied_model_is_saved_once_and_both_copies_come_back() -> None:
    with staged(ranks=2, build=model) as world:
        world.step(1)
        sizes = [replica.sizes() for replica in world.replicas]
        assert not sizes[0].parameters.keys() & sizes[1].parameters.keys()
        assert not sizes[0].optimizer.keys() & sizes[1].optimizer.keys()
        whole = World(build=model).replicas[0].sizes()
        assert {**sizes[0].parameters, **sizes[1].parameters} == whole.parameters
        assert {**sizes[0].optimizer, **sizes[1].optimizer} == whole.optimizer
        before = world.everything()
        snapshots = world.everywhere(lambda rank: world.replicas[rank].snapshot(Share(*map(set, shares(sizes[rank])))))
        parameters = {name: value for each in snapshots for name, value in each.parameters.items()}
        optimizer = {name: value for each in snapshots for name, value in each.optimizer.items()}
        merged = replace(snapshots[0], parameters=parameters, optimizer=optimizer)
        world.everywhere(lambda rank: world.replicas[rank].forget())
        world.everywhere(lambda rank: world.replicas[rank].adopt(merged))
        assert {name: each.tobytes() for name, each in world.everything().items()} == {
            name: each.tobytes() for name, each in before.items()
        }


def shares(sizes: StateSizes) -> tuple[list[str], list[str]]:
    return list(sizes.parameters), list(sizes.optimizer)


def test_a_stage_in_which_nothing_is_trained_is_refused() -> None:
    made = model(tied=False)
    attach(made, AdapterSettings(type="lora", rank=2, layers=1), 5, "float32")
    with pytest.raises(ModelError, match=r"nothing is trained on stage 0 of parallel\.pipeline = 2"):
        StagePart(made, examine(made), Partition((2, 2), 2), "1f1b", 0)
