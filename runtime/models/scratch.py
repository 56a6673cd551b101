"""`[model.scratch]`: any architecture of mlx_lm with random weights, the same bits for the same seed.

The keys of the table go to the architecture's own `ModelArgs`. What it needs beyond them is filled in from a short list
of usual values; what is still missing, and what it does not know, is refused by name.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any

from runtime.config.model import ScratchSettings
from runtime.errors import ModelError

FOLLOWS_FROM_SIZES = frozenset({"head_dim", "num_key_value_heads"})
NOT_FOR_THE_ARCHITECTURE = frozenset({"architecture", "tokenizer"})


def scratch_config(
    scratch: ScratchSettings, *, vocab_size: int, eos_token_ids: list[int], pad_token_id: int | None
) -> dict[str, Any]:
    """The complete `config.json` of the model. Raises ModelError for an unknown architecture or key, or a missing one.

    A size that the user left at its default and that the architecture does not know (gpt2 says `n_embd`) is left out.
    """
    known_classes = model_args_class({"model_type": scratch.architecture})
    fields = {field.name: field for field in dataclasses.fields(known_classes)}
    given = {
        key: value
        for key, value in scratch.model_dump().items()
        if key not in NOT_FOR_THE_ARCHITECTURE and (key in fields or key in scratch.model_fields_set)
    }
    _refuse_unknown(scratch.architecture, given, tuple(fields))
    config: dict[str, Any] = {"model_type": scratch.architecture, "vocab_size": vocab_size, **given}
    if config["vocab_size"] < vocab_size:
        size = config["vocab_size"]
        raise ModelError(f"model.scratch.vocab_size: {size} is smaller than the tokenizer's {vocab_size}; leave it out")
    for key, value in _usual_values(config).items():
        if key in fields and (key in FOLLOWS_FROM_SIZES or _is_open(fields[key])):
            config.setdefault(key, value)
    missing = [name for name, field in fields.items() if name not in config and _is_required(field)]
    if missing:
        raise ModelError(f"model.scratch: architecture {scratch.architecture} also needs {', '.join(missing)}")
    config["eos_token_id"] = eos_token_ids
    if pad_token_id is not None:
        config["pad_token_id"] = pad_token_id
    return config


def build_model(config: Mapping[str, Any], *, seed: int) -> Any:
    """An mlx_lm model with random weights in float32; the same (config, seed, device) gives the same bits.

    Nothing of it is evaluated. It reseeds mlx's generator of this thread. Raises ModelError with the architecture's own
    complaint.
    """
    import mlx.core as mx

    model_class, args_class = _classes(dict(config))
    mx.random.seed(seed)
    try:
        model = model_class(args_class.from_dict(dict(config)))
        model(
            mx.array([[0, 0]])
        )  # lazy, so it costs nothing: sizes that only fail in use (Gemma's layer pattern) fail here
    except (TypeError, ValueError, KeyError, AttributeError, IndexError, ZeroDivisionError, RuntimeError) as error:
        raise ModelError(f"model.scratch: {config['model_type']} cannot be built from these sizes: {error}") from error
    return model


def model_args_class(config: Mapping[str, Any]) -> Any:
    """The `ModelArgs` dataclass of an architecture. Raises ModelError when mlx_lm has no such architecture."""
    return _classes(dict(config))[1]


def architectures() -> tuple[str, ...]:
    """Every architecture name that the installed mlx_lm has, sorted."""
    import pkgutil

    import mlx_lm.models

    helpers = {"base", "cache", "activations", "pipeline", "switch_layers", "rope_utils", "ssm", "gated_delta", "mla"}
    return tuple(sorted({module.name for module in pkgutil.iter_modules(mlx_lm.models.__path__)} - helpers))


def _classes(config: dict[str, Any]) -> tuple[Any, Any]:
    from mlx_lm.utils import _get_classes

    name = config.get("model_type")
    try:
        model_class, args_class = _get_classes(config)
    except (ValueError, ImportError, AttributeError) as error:
        near = difflib.get_close_matches(str(name), architectures(), n=1)
        hint = f"; did you mean {near[0]}?" if near else "; see mlx_lm/models for the names"
        raise ModelError(f"mlx_lm has no architecture {name!r}{hint}") from error
    return model_class, args_class


def _usual_values(config: Mapping[str, Any]) -> dict[str, Any]:
    """What most architectures ask for and nobody wants to write for a small model."""
    heads, hidden = config.get("num_attention_heads", 1), config.get("hidden_size", 1)
    return {
        "num_key_value_heads": heads,
        "head_dim": hidden // max(heads, 1),
        "rms_norm_eps": 1e-5,
        "layer_norm_eps": 1e-5,
        "norm_eps": 1e-5,
        "rope_theta": 10_000.0,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": True,
    }


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _is_open(field: dataclasses.Field[Any]) -> bool:
    return _is_required(field) or field.default is None


def _refuse_unknown(architecture: str, given: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; it takes {', '.join(sorted(known))}"
            raise ModelError(f"model.scratch.{key}: unknown to architecture {architecture}{hint}")
