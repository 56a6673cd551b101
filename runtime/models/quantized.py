"""A base in 4 or 8 bits: the weights of its linear layers and embeddings in groups of 64 with a scale and an offset.

The config.json of a quantised model says so the way mlx_lm writes it, so that an exported folder opens like any other.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from typing import Any

from runtime.errors import ModelError

GROUP_SIZE = 64


def bits_of(config: Mapping[str, Any]) -> int:
    """The bits that a config.json speaks of; 0: the model is not quantised."""
    said = config.get("quantization") or {}
    return int(said.get("bits", 0))


def quantize(model: Any, config: Mapping[str, Any], bits: int) -> dict[str, Any]:
    """Put quantised layers in the place of the model's own, lazily; returns the new config.json.

    Layers whose width is no multiple of 64 stay as they are. A model that has these bits already is left alone; raises
    ModelError if it has others, or if no layer could be quantised. Imports mlx and mlx_lm.
    """
    from mlx_lm.utils import quantize_model

    there = bits_of(config)
    if there == bits:
        return dict(config)
    if there:
        raise ModelError(f"model.quantize_bits: the model in model.path is in {there} bits already; set it to {there}")
    with redirect_stdout(sys.stderr):  # mlx_lm says how many bits it were; stdout may be somebody's JSON
        _, quantized = quantize_model(model, dict(config), GROUP_SIZE, bits)
    if not any(name.endswith(".scales") for name in _names(model)):
        raise ModelError(
            f"model.quantize_bits: no layer of this model has a width that is a multiple of {GROUP_SIZE}; set it to 0"
        )
    return dict(quantized)


def parameter_count(model: Any) -> int:
    """Parameters of the model as if nothing were quantised: packed numbers counted one by one, scales and offsets not.

    Imports mlx.
    """
    from mlx.utils import tree_flatten

    count = sum(value.size for _, value in tree_flatten(model.parameters()))
    for _, module in model.named_modules():
        if "scales" in module and hasattr(module, "group_size"):
            packed = sum(module[part].size for part in ("weight", "scales", "biases") if part in module)
            count += module.scales.size * module.group_size - packed
    return int(count)


def _names(model: Any) -> list[str]:
    from mlx.utils import tree_flatten

    return [name for name, _ in tree_flatten(model.parameters())]
