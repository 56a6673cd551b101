"""Models small enough for a test, of architectures that differ where a pipeline could go wrong."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
from mlx import nn
from mlx.utils import tree_flatten, tree_unflatten
from mlx_lm.tuner.utils import linear_to_lora_layers

from tests.unit.pipeline.rehearsal import VOCABULARY

SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 8,
    "intermediate_size": 24,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "rms_norm_eps": 1e-5,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 64,
    "rope_theta": 1e4,
    "tie_word_embeddings": True,
}
KINDS: dict[str, dict[str, Any]] = {
    "llama": {"model_type": "llama", "tie_word_embeddings": False},
    "qwen3": {"model_type": "qwen3"},
    "gemma3": {"model_type": "gemma3_text", "sliding_window": 3, "sliding_window_pattern": 2},
}
"""llama: a head of its own; qwen3: tied embeddings; gemma3: layers with and without a window, scaled embeddings."""


def build(kind: str, *, seed: int = 3, **sizes: Any) -> Any:
    """A model of one of `KINDS` with random weights, lazy."""
    from mlx_lm.utils import _get_classes

    config = {**SIZES, **KINDS[kind], **sizes}
    model_class, args_class = _get_classes(config)
    mx.random.seed(seed)
    return model_class(args_class.from_dict(config))


def with_adapters(model: Any, *, quantised: bool = False) -> Any:
    """LoRA on the last six layers, both factors random, over a frozen base, of 4 bit if `quantised`."""
    if quantised:
        nn.quantize(model, group_size=32, bits=4)
    model.freeze()
    linear_to_lora_layers(model, 6, {"rank": 2, "scale": 4.0, "dropout": 0.0})
    mx.random.seed(5)
    noise = [(name, value + 0.1 * mx.random.normal(value.shape)) for name, value in _trained(model)]
    model.update(tree_unflatten(noise))
    return model


def _trained(model: Any) -> list[tuple[str, mx.array]]:
    return list(tree_flatten(model.trainable_parameters()))
