"""Fusing: an adapter's checkpoint and its base become one plain model folder, as mlx_lm's own fuse does it.

A quantised base is quantised again by default, in the same bits; `dequantize` writes 16 or 32 bit weights, which answer
exactly as base and adapter did together.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from runtime.checkpoint.export import appearing
from runtime.checkpoint.reader import check_base_hash, load
from runtime.config.model import ModelSettings
from runtime.models.load import Loaded, load_model, resolve_dtype, write_model_folder
from runtime.models.quantized import bits_of


def fuse(checkpoint: Path, model: ModelSettings, seed: int, target: Path, *, dequantize: bool = False) -> str:
    """Write the fused folder to `target`, which appears whole or not at all; returns what was done, in words.

    `model` and `seed` are those of the run: its base is built or opened once more. Raises CheckpointError (a broken or
    another base's checkpoint, a target in use, a disk that refuses) and ModelError. Imports mlx and mlx_lm.
    """
    from mlx.utils import tree_flatten

    loaded = load_model(model, seed)
    check_base_hash(checkpoint, loaded.base_hash)
    loaded.model.load_weights(list(load(checkpoint).parameters.items()), strict=False)
    fused = _fused(loaded, resolve_dtype(model.dtype), dequantize)
    with appearing(target) as folder:
        write_model_folder(folder, fused, dict(tree_flatten(fused.model.parameters())))
    bits = bits_of(loaded.config)
    if not bits:
        return "adapter fused"
    return f"adapter fused, {bits} bits dequantised" if dequantize else f"adapter fused, quantised again in {bits} bits"


def _fused(loaded: Loaded, dtype: str, dequantize: bool) -> Loaded:
    import mlx.core as mx
    from mlx.utils import tree_unflatten
    from mlx_lm.utils import dequantize_model

    model: Any = loaded.model
    layers = [(name, layer.fuse(dequantize=dequantize)) for name, layer in model.named_modules() if _fuses(layer)]
    model.update_modules(tree_unflatten(layers))
    config = dict(loaded.config)
    if dequantize:
        model = dequantize_model(model)
        config.pop("quantization", None)
        config.pop("quantization_config", None)
    model.set_dtype(getattr(mx, dtype))
    return replace(loaded, model=model, config=config)


def _fuses(layer: Any) -> bool:
    return hasattr(layer, "fuse")
