"""Activation checkpointing: the same gradients, dropout included, in less memory."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from runtime.config.model import AdapterSettings, ModelSettings, ScratchSettings
from runtime.errors import ModelError
from runtime.models.load import load_model
from runtime.trainer.gradients import GradientFunctions, trainable
from runtime.trainer.recompute import Recompute

B, T = 2, 65


def model_of(architecture: str = "llama", layers: int = 5, adapter: str = "lora", **sizes: Any) -> Any:
    """A small model in training mode; with an adapter, one that drops a quarter of its inputs."""
    keys = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64, **sizes}
    scratch = ScratchSettings.model_validate({"architecture": architecture, "num_hidden_layers": layers, **keys})
    settings = AdapterSettings.model_validate({"type": adapter, "rank": 2, "dropout": 0.25})
    model = load_model(ModelSettings(scratch=scratch, adapter=settings), 3).model
    model.train()
    return model


def computed(how: str, **keys: Any) -> tuple[dict[str, np.ndarray[Any, Any]], int]:
    """(gradients of one micro-batch, peak bytes while they were computed)."""
    model = model_of(**keys)
    parameters = {
        name: mx.random.normal(value.shape, key=mx.random.key(1)) * 0.1 if "lora_b" in name else value
        for name, value in trainable(model).items()
    }
    functions = GradientFunctions(model, compiled=False, recompute=how)
    tokens_BT = np.arange(B * T).reshape(B, T) * 7 % 250
    numbers_B = np.arange(B, dtype=np.uint32)
    mx.eval(parameters)
    mx.reset_peak_memory()
    before = mx.get_active_memory()
    made = functions.add(parameters, None, tokens_BT, np.ones((B, T), np.float32), None, numbers_B)
    mx.eval(made)
    return {name: np.array(value) for name, value in made[1].items()}, mx.get_peak_memory() - before


@pytest.mark.parametrize(
    "keys", [{"adapter": "lora"}, {"adapter": "full"}, {"architecture": "gemma3_text", "head_dim": 16, "layers": 6}]
)
def test_gradients_are_the_same_and_memory_falls(keys: dict[str, Any]) -> None:
    expected, kept_bytes = computed("none", **keys)
    for how in ("layer", "full"):
        found, peak_bytes = computed(how, **keys)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-6 * np.abs(value).max(), err_msg=name)
        assert peak_bytes < 0.9 * kept_bytes, how


@pytest.mark.opt_in  # what else the process has in memory decides as well
def test_segments_remember_less_than_layers_in_a_deep_model() -> None:
    sizes = {"layers": 16, "adapter": "full", "intermediate_size": 32}
    assert computed("full", **sizes)[1] < computed("layer", **sizes)[1]


def test_an_architecture_that_works_between_its_layers_has_no_segments() -> None:
    model = model_of()
    recompute = Recompute(model, "full")
    x = mx.zeros((1, 3, 32))
    with recompute.installed():
        assert model.layers[0](x, None, None) is x
        with pytest.raises(ModelError, match='so they cannot be recomputed in segments; use "layer"'):
            model.layers[1](x + 1, None, None)
    with recompute.installed():  # nothing is left over of it
        assert model.layers[0](x, None, None) is x
