"""A stage's model: what it owns is there, everything else takes no memory; and every worker comes to the same cut."""

from __future__ import annotations

import mlx.core as mx
import pytest
from mlx.utils import tree_flatten

from runtime.app.staging import anatomy_in, let_go, stage_of
from runtime.config.schema import Config
from runtime.errors import UsageError
from runtime.models import blueprint as blueprints
from runtime.plan.plan import make
from tests.unit.pipeline import models


def test_what_is_let_go_keeps_its_shape_and_takes_no_memory() -> None:
    model = models.build("llama", hidden_size=64, intermediate_size=96)
    own = {name for name, _ in tree_flatten(model.parameters()) if ".layers.1." in name}
    shapes = {name: value.shape for name, value in tree_flatten(model.parameters())}
    before = mx.get_active_memory()
    let_go(model, own)
    held = sum(value.nbytes for name, value in tree_flatten(model.parameters()) if name in own)
    assert 0.9 * held < mx.get_active_memory() - before < 1.5 * held
    assert {name: value.shape for name, value in tree_flatten(model.parameters())} == shapes


def test_activations_are_of_the_dtype_that_is_computed_in_and_the_model_stays_as_it_was() -> None:
    model = models.build("qwen3")
    model.set_dtype(mx.bfloat16)
    assert anatomy_in(model, mx.float32).dtype == mx.float32
    assert anatomy_in(model, None).dtype == mx.bfloat16
    assert {value.dtype for _, value in tree_flatten(model.parameters())} == {mx.bfloat16}


def test_the_stages_of_a_plan_own_every_parameter_and_both_ends_the_tied_table() -> None:
    parallel = {"pipeline": 2, "workers": 2, "schedule": "interleaved"}
    config = Config.model_validate({"parallel": parallel, "data": {"max_length": 8}})
    owned = []
    for index in range(2):
        model = models.build("qwen3")
        plan = make(config, blueprints.describe(model, models.SIZES, 4), 2)
        part = stage_of(model, plan, index, compute=None, recompute="layer")
        assert (part.chunks, part.is_last, part.shared) == (2, index == 1, ("model.embed_tokens.weight",))
        layers = ("0-1 and 4-5", "2-3 and 6-7")[index]
        assert part.words == f"stage {index} of 2, interleaved, layers {layers}"
        owned.append(part.owned)
    assert owned[0] & owned[1] == {"model.embed_tokens.weight"}
    assert owned[0] | owned[1] == {name for name, _ in tree_flatten(model.parameters())}


def test_without_a_plan_there_are_no_stages() -> None:
    with pytest.raises(UsageError, match="leave it at 1"):
        stage_of(models.build("llama"), None, 0, compute=None, recompute="none")
