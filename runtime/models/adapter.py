"""Adapters: mlx_lm's LoRA and DoRA layers around the layers of a frozen base; nothing else is trained.

The layers and their names are mlx_lm's own, so that what was trained opens in `mlx_lm.generate --adapter-path`. Their
matrices have the dtype that the base computes in (a product of two dtypes would be one of float32); DoRA's magnitudes
are float32, because a base in 16 bits would otherwise not be what it was before the first step.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from runtime.config.model import AdapterSettings
from runtime.errors import ModelError


def attach(model: Any, settings: AdapterSettings, seed: int, dtype: str) -> None:
    """Freeze `model` and put an adapter around the layers that `settings` name; their start is a function of `seed`.

    `dtype` is what the base computes in: float32, bfloat16 or float16. Nothing is done for type "full", which trains
    every parameter. It reseeds mlx's generator of this thread, and evaluates nothing. Raises ModelError for layers and
    keys that the model has not. Imports mlx and mlx_lm.
    """
    if settings.type == "full":
        return
    import mlx.core as mx
    from mlx.utils import tree_flatten, tree_unflatten
    from mlx_lm.tuner.utils import linear_to_lora_layers

    blocks = blocks_adapted(model, settings)
    _check_keys(model, settings, blocks)
    model.freeze()
    mx.random.seed(seed)
    try:
        linear_to_lora_layers(model, blocks, _parameters(settings), use_dora=settings.type == "dora")
    except ValueError as error:  # DoRA over the experts of a mixture, for one
        raise ModelError(f"model.adapter: {error}; name other layers in model.adapter.keys") from error
    matrices = [
        (name, value.astype(getattr(mx, dtype)))
        for name, value in tree_flatten(model.trainable_parameters())
        if value.ndim > 1
    ]
    model.update(tree_unflatten(matrices))


def adapter_config(model: Any, settings: AdapterSettings) -> dict[str, Any]:
    """`adapter_config.json` as mlx_lm reads it."""
    return {
        "fine_tune_type": settings.type,
        "num_layers": blocks_adapted(model, settings),
        "lora_parameters": _parameters(settings),
    }


def blocks_adapted(model: Any, settings: AdapterSettings) -> int:
    """How many blocks, counted from the last, get an adapter. Raises ModelError if there are not so many."""
    count = len(model.layers)
    if settings.layers > count:
        raise ModelError(f"model.adapter.layers: {settings.layers}, but the model has {count} blocks; -1 means all")
    return count if settings.layers < 0 else settings.layers


def _parameters(settings: AdapterSettings) -> dict[str, Any]:
    given = {"rank": settings.rank, "scale": settings.scale, "dropout": settings.dropout}
    return given | ({"keys": list(settings.keys)} if settings.keys else {})


def _check_keys(model: Any, settings: AdapterSettings, blocks: int) -> None:
    """Each key names a layer of a block that gets an adapter (`self_attn.q_proj`), or of the model (`lm_head`)."""
    inside = {name for block in model.layers[-blocks:] for name in _adaptable(block)}
    outside = {name for name in _adaptable(model) if ".layers." not in f".{name}"}
    for key in settings.keys:
        if key in inside or key in outside:
            continue
        near = [name for name in sorted(inside) if name.endswith(f".{key}")]
        near = near or difflib.get_close_matches(key, sorted(inside | outside), n=1)
        hint = f"did you mean {near[0]}? There are " if near else "there are "
        raise ModelError(
            f'model.adapter.keys: the model has no layer "{key}"; {hint}{", ".join(sorted(inside | outside))}'
        )


def _adaptable(module: Any) -> Iterable[str]:
    """Names of the layers below `module` that an adapter can be put around."""
    from mlx import nn
    from mlx_lm.models.switch_layers import QuantizedSwitchLinear, SwitchLinear

    kinds = (nn.Linear, nn.QuantizedLinear, SwitchLinear, QuantizedSwitchLinear, nn.Embedding, nn.QuantizedEmbedding)
    return [name for name, layer in module.named_modules() if isinstance(layer, kinds) or hasattr(layer, "to_lora")]
