"""Training an adapter: nothing else moves or is saved, and dropout depends on the row and on nothing else."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten

from runtime.config.model import AdapterSettings, ModelSettings, ScratchSettings
from runtime.errors import ModelError
from runtime.flow import Micro
from runtime.ids import ShardId, Step
from runtime.models.load import load_model
from runtime.trainer.dropout import RowDropout, Rows, place_dropout, row_numbers
from tests.unit.trainer.world import World, bits

SCRATCH = ScratchSettings(hidden_size=64, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)
FIRST = Step(1)


def adapted(kind: str = "lora", quantize_bits: int = 0, dropout: float = 0.25) -> Any:
    """A one-layer llama with an adapter; the same bits every time."""
    settings = AdapterSettings.model_validate({"type": kind, "rank": 2, "dropout": dropout})
    model = ModelSettings.model_validate({"scratch": SCRATCH, "adapter": settings, "quantize_bits": quantize_bits})
    return load_model(model, 3).model


def world(ranks: int = 1, micro: int = 4, deterministic: bool = False, compiled: bool = False, **keys: Any) -> World:
    return World(
        ranks=ranks,
        micro=micro,
        deterministic=deterministic,
        compiled=compiled,
        build=lambda: adapted(**keys),
        base_hash="b",
    )


def gradients(of: World) -> np.ndarray[Any, Any]:
    order = of.order(1)
    return np.array(of.sum(of.locals(order)))


@pytest.mark.parametrize(("kind", "quantize_bits"), [("lora", 0), ("lora", 4), ("dora", 8)])
def test_bits_do_not_depend_on_the_number_of_workers_with_dropout(kind: str, quantize_bits: int) -> None:
    found = []
    for ranks in (1, 2, 4) if kind == "lora" and not quantize_bits else (1, 3):
        one = world(ranks, deterministic=True, kind=kind, quantize_bits=quantize_bits)
        for step in (1, 2):
            one.step(step)
        found.append(bits(one.parameters()))
    assert all(each == found[0] for each in found[1:])


def test_only_the_adapter_is_part_of_the_state_and_the_base_keeps_its_bits() -> None:
    one = world()
    (replica,) = one.replicas
    frozen = {name: np.array(value) for name, value in tree_flatten(replica.model.parameters()) if "lora" not in name}
    one.step(1)
    snapshot = replica.snapshot()
    assert {name.rsplit(".", 1)[-1] for name in snapshot.parameters} == {"lora_a", "lora_b"}
    assert replica.sizes().parameters.keys() == snapshot.parameters.keys()
    after = {name: np.array(value) for name, value in tree_flatten(replica.model.parameters()) if "lora" not in name}
    assert bits(after) == bits(frozen)
    assert replica.elements > sum(value.size for value in snapshot.parameters.values())


def test_dropout_does_not_depend_on_micro_batches_padding_or_compilation() -> None:
    expected = gradients(world())
    for other in (world(micro=1), world(micro=16), world(ranks=3), world(compiled=True)):
        np.testing.assert_allclose(gradients(other), expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
    without = gradients(world(dropout=0.0))
    assert np.abs(without - expected).max() > 0.01 * np.abs(expected).max()


def test_each_step_each_layer_and_each_row_drop_something_else() -> None:
    rows, x = Rows(), mx.ones((2, 3, 64))
    micro = Micro((ShardId(0), ShardId(0)), None, None)

    def dropped(step: int, layer: int) -> list[Any]:
        (numbers,) = row_numbers(5, Step(step), [micro])
        rows.numbers_B = mx.array(numbers)
        return RowDropout(0.5, layer, rows)(x).reshape(6, 64).tolist()

    seen = {tuple(position) for found in (dropped(1, 0), dropped(2, 0), dropped(1, 1)) for position in found}
    assert len(seen) == 3 * 2 * 3
    assert {value for position in seen for value in position} == {0.0, 2.0}


def test_a_fraction_is_dropped_and_the_mean_is_kept() -> None:
    rows = Rows()
    rows.numbers_B = mx.arange(64, dtype=mx.uint32)
    found = RowDropout(0.25, 0, rows)(mx.ones((64, 8, 4, 8)))
    assert float((found == 0).mean().item()) == pytest.approx(0.25, abs=0.02)
    assert float(found.mean().item()) == pytest.approx(1.0, abs=0.03)


def test_rows_are_numbered_by_shard_whatever_micro_batch_they_are_in() -> None:
    a, b = ShardId(0), ShardId(1)
    together = row_numbers(1, FIRST, [Micro((a, b, a), None, None)])[0]
    apart = row_numbers(1, FIRST, [Micro((b,), None, None), Micro((a, a), None, None)])
    assert [*apart[1][:1], *apart[0], *apart[1][1:]] == [*together]
    assert len({*together, *row_numbers(2, FIRST, [Micro((a,), None, None)])[0]}) == 4


def test_evaluation_drops_nothing() -> None:
    one = world()
    (replica,) = one.replicas
    batch = one.batch(one.order(1), 0)
    judged = [replica.functions.judge(replica.trained, micro.tokens_BT, micro.mask_BT)[0] for micro in batch.micros]
    other = world(dropout=0.0).replicas[0]
    plain = [other.functions.judge(other.trained, micro.tokens_BT, micro.mask_BT)[0] for micro in batch.micros]
    assert [each.tolist() for each in judged] == [each.tolist() for each in plain]


def test_inputs_that_are_no_rows_are_refused_and_a_model_without_dropout_is_left_alone() -> None:
    rows = Rows()
    rows.numbers_B = mx.arange(2, dtype=mx.uint32)
    with pytest.raises(ModelError, match=r"takes \[6, 8\], not rows of positions"):
        RowDropout(0.5, 0, rows)(mx.ones((6, 8)))
    assert place_dropout(adapted(dropout=0.0)) is None
