"""Several samples in a row: loss, gradients and bits are those of the samples alone, whoever computes them and how."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from runtime.cluster.messages import Verdict
from runtime.config.model import AdapterSettings, ModelSettings, ScratchSettings
from runtime.data.encoded import Encoded
from runtime.data.packing import attention_of
from runtime.data.tokens import TokenDataset
from runtime.errors import ModelError
from runtime.models.load import load_model
from runtime.models.packed import OneRow, attention_mask, refuse_unpackable
from runtime.models.scratch import build_model
from runtime.trainer.memory import RowLimit, half_a_row, most_rows
from tests.unit.trainer.world import World, bits, build

ROW_TOKENS = 33
"""One more than a multiple of the tests' four."""


def packed(ranks: int = 1, **keys: Any) -> World:
    return World(ranks=ranks, row_tokens=ROW_TOKENS, **keys)


def equal_learnt_parts() -> TokenDataset:
    """48 samples of 4 to 30 tokens."""
    rng = np.random.default_rng(9)
    lengths = rng.integers(4, 31, 48)
    rows = [(tuple(rng.integers(2, 24, n).tolist()), (0,) * (n // 2) + (1,) * (n - n // 2)) for n in map(int, lengths)]
    return TokenDataset.of([Encoded(*row) for row in rows])


def worlds() -> dict[str, World]:
    """Show 2 of the issue: a step of eight samples in four ways (and one that is both)."""
    common: dict[str, Any] = {"dataset": equal_learnt_parts(), "global_batch": 8, "shards": 8}
    return {
        "1 x 8": World(micro=8, **common),
        "2 x 2 x accumulation 2": World(ranks=2, micro=2, **common),
        "packing": World(micro=8, row_tokens=ROW_TOKENS, **common),
        "packing, 2 workers": World(ranks=2, micro=1, row_tokens=ROW_TOKENS, **common),
        "padding, one at a time": World(micro=1, **common),
    }


def trajectories(steps: int) -> dict[str, tuple[list[float], list[float]]]:
    """By way: (mean loss, norm of the mean gradient) of each step."""
    found = {}
    for name, world in worlds().items():
        verdicts: list[Verdict] = [world.step(step) for step in range(1, steps + 1)]
        committed = [verdict.committed for verdict in verdicts]
        found[name] = [one.loss_sum / one.tokens for one in committed], [one.grad_norm for one in committed]
    return found


def assert_equal_in_all_ways(steps: int) -> None:
    found = trajectories(steps)
    losses, norms = found.pop("1 x 8")
    for name, (other_losses, other_norms) in found.items():
        np.testing.assert_allclose(other_losses, losses, rtol=2e-5, err_msg=name)
        np.testing.assert_allclose(other_norms, norms, rtol=2e-4, err_msg=name)
    assert losses[-1] < losses[0]


def test_workers_accumulation_packing_and_padding_give_one_trajectory() -> None:
    assert_equal_in_all_ways(3)


@pytest.mark.opt_in
def test_and_one_trajectory_over_fifty_steps() -> None:
    assert_equal_in_all_ways(50)


def test_bits_of_packed_rows_do_not_depend_on_the_number_of_workers() -> None:
    found = []
    for ranks in (1, 2, 4):
        one = packed(ranks, deterministic=True, global_batch=24)
        one.step(1)
        one.step(2)
        found.append(bits(one.parameters()))
    assert found[0] == found[1] == found[2]


def test_a_takeover_of_packed_shards_changes_no_bit() -> None:
    one, other = packed(2, deterministic=True), packed(2, deterministic=True)
    one.step(1)
    other.step(1, owners=[1] * 7 + [0])
    assert bits(one.parameters()) == bits(other.parameters())


def test_rows_hold_every_sample_once_and_are_fuller_than_padded_ones() -> None:
    one, alone = packed(global_batch=32), World(global_batch=32)
    batch, padded = one.batch(one.order(1), 0), alone.batch(alone.order(1), 0)
    assert batch.useful_tokens == padded.useful_tokens
    assert batch.computed_positions < padded.computed_positions
    assert batch.useful_tokens > 0.85 * batch.computed_positions


@pytest.mark.parametrize("deterministic", [False, True])
def test_each_shard_keeps_its_own_loss(deterministic: bool) -> None:
    one, other = packed(deterministic=deterministic), World(deterministic=deterministic)
    order = one.order(1)
    found, expected = one.locals(order)[0].tallies, other.locals(order)[0].tallies
    assert found.keys() == expected.keys()
    for shard, tally in expected.items():
        assert found[shard].tokens == tally.tokens
        assert found[shard].sample_ids == tally.sample_ids
        assert found[shard].loss_sum == pytest.approx(tally.loss_sum, rel=1e-5, abs=1e-6)


def adapted(dropout: float = 0.25) -> Any:
    scratch = ScratchSettings(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24)
    settings = AdapterSettings.model_validate({"type": "lora", "rank": 2, "dropout": dropout})
    return load_model(ModelSettings(scratch=scratch, adapter=settings), 3).model


def gradient(world: World) -> np.ndarray[Any, Any]:
    return np.array(world.sum(world.locals(world.order(1))))


@pytest.mark.parametrize("recompute", ["none", "layer", "full"])
def test_an_adapter_drops_the_same_inputs_of_packed_samples_recomputed_or_not(recompute: str) -> None:
    expected = gradient(World(build=adapted, base_hash="b"))
    found = gradient(packed(build=adapted, base_hash="b", recompute=recompute))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
    assert np.abs(gradient(World(build=lambda: adapted(0.0), base_hash="b")) - expected).max() > 1e-3


def test_a_batch_that_does_not_fit_is_cut_between_packed_rows() -> None:
    one = packed(micro=8, global_batch=32)
    batch = one.batch(one.order(1), 0)
    limit = RowLimit(rows=most_rows(batch) // 2)
    cut = limit.cut(batch)
    assert most_rows(cut) <= most_rows(batch) // 2
    packings = [micro.packing for micro in cut.micros if micro.packing is not None]
    inside = [sample for packing in packings for row in packing.samples for sample in row]
    assert sorted(inside) == sorted((shard, at) for shard, ids in batch.sample_ids.items() for at in range(len(ids)))
    small = half_a_row(batch)
    (micro,) = small.micros
    assert micro.tokens_BT.shape[0] == 1
    one.replicas[0].add_gradients(one.locals(one.order(1))[0], small)


def test_the_mask_on_the_device_is_that_of_the_reference() -> None:
    segments_BS = np.array([[1, 1, 2, 2, 2, 0], [1, 2, 3, 3, 0, 0]], np.int32)
    assert (np.array(attention_mask(mx.array(segments_BS))) == attention_of(segments_BS)).all()


def test_a_window_is_cut_out_of_the_mask() -> None:
    row = OneRow(mx.array([[1, 1, 1, 2, 2]]))
    whole, windowed = np.array(row.make_mask(5))[0, 0], np.array(row.make_mask(5, window_size=2))[0, 0]
    assert whole[2].tolist() == [True, True, True, False, False]
    assert windowed[2].tolist() == [False, True, True, False, False]


SIZES = {"vocab_size": 16, "hidden_size": 16, "num_hidden_layers": 2, "intermediate_size": 16, "rms_norm_eps": 1e-5}


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"model_type": "gpt2", "n_ctx": 32, "n_embd": 16, "n_head": 2, "n_layer": 1, "n_positions": 32,
          "layer_norm_epsilon": 1e-5, "vocab_size": 16}, "a sample's place in the row changes it"),
        ({**SIZES, "model_type": "mamba", "state_size": 4, "conv_kernel": 2, "use_bias": False,
          "use_conv_bias": True, "time_step_rank": 2, "intermediate_size": 32},
         "its layers keep a state along the row, or take no mask"),
        ({**SIZES, "model_type": "gemma2", "head_dim": 8, "num_attention_heads": 4, "num_key_value_heads": 2},
         "a sample sees the one before it"),
    ],
)  # fmt: skip
def test_models_that_cannot_keep_samples_apart_are_found_by_looking(config: dict[str, Any], reason: str) -> None:
    model = build_model(config, seed=3)
    with pytest.raises(ModelError, match=rf'"pack": architecture new cannot .* \({reason}\); use "bucket"'):
        refuse_unpackable(model, "new")


def test_a_llama_may_pack_and_a_name_of_the_table_is_not_even_tried() -> None:
    refuse_unpackable(build(), "llama")
    refuse_unpackable(build(dtype=mx.bfloat16), "llama")
    with pytest.raises(ModelError, match=r"architecture hunyuan cannot keep .* \(known by its name\)"):
        refuse_unpackable(None, "hunyuan")
