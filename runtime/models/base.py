"""The identity of a base model that an adapter was trained on: where it came from, and what its bits are.

A checkpoint of an adapter holds no parameter of its base. It holds these two instead.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from runtime.config.model import ModelSettings

_MIXER = 2654435761  # odd, so that multiplying by it permutes the numbers below 2^32 (Knuth's multiplicative hash)


def base_name(model: ModelSettings) -> str:
    """What an adapter is trained on, in words, as the manifest says it; empty where everything is trained."""
    if model.adapter.type == "full":
        return ""
    place = f"{model.path}@{model.revision}" if model.path else f"random weights of [model.scratch] {_scratch(model)}"
    return f"{place} in {model.quantize_bits} bits" if model.quantize_bits else place


def base_hash(parameters: Mapping[str, Any]) -> str:
    """32 hexadecimal characters of these mlx arrays: names, dtypes, shapes and bits. Imports mlx.

    Each tensor's bits are added up on its device, modulo 2^32, each word multiplied by a number of its position: exact
    integers, so the order of the sum does not matter. It tells models apart by accident, not by malice: seconds for
    what a digest of the bytes takes minutes for.
    """
    import mlx.core as mx

    lines = []
    for name in sorted(parameters):
        value = parameters[name]
        word = {1: mx.uint8, 2: mx.uint16, 4: mx.uint32, 8: mx.uint64}[value.itemsize]
        words = value.reshape(-1).view(word).astype(mx.uint32)
        places = mx.arange(words.size, dtype=mx.uint32) * _MIXER
        total = ((words + 1) * (places | 1)).sum()
        lines.append([name, str(value.dtype), list(value.shape), int(total.item())])
    return hashlib.sha256(json.dumps(lines).encode(), usedforsecurity=False).hexdigest()[:32]


def _scratch(model: ModelSettings) -> str:
    text = json.dumps(model.scratch.model_dump(mode="json"), sort_keys=True)
    return hashlib.sha256(text.encode(), usedforsecurity=False).hexdigest()[:8]
