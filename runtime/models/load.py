"""A model ready for the device: weights, tokenizer, and the files that make an exported folder complete.

Both kinds, `[model.scratch]` and a folder of mlx-lm, come out as the same `Loaded`. The tokenizer is always opened from
exactly the files that an export will write, so that training and serving cannot disagree about template or stop tokens.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from runtime.config.model import ModelSettings
from runtime.errors import ModelError
from runtime.flow import Array
from runtime.models.adapter import attach
from runtime.models.base import base_hash
from runtime.models.bytes_tokenizer import write_bytes_tokenizer
from runtime.models.device import DeviceKind, default_kind
from runtime.models.quantized import bits_of, quantize
from runtime.models.scratch import build_model, model_args_class, scratch_config
from runtime.models.tokenizer import json_bytes, open_tokenizer, tokenizer_files


@dataclass(frozen=True)
class Loaded:
    """A model and everything that belongs to it. The arrays belong to the thread that loaded them."""

    model: Any
    """An mlx_lm model (nn.Module), evaluated."""
    tokenizer: Any
    """mlx_lm's TokenizerWrapper; `eos_token_ids` holds every token that ends an answer."""
    config: Mapping[str, Any]
    """`config.json` as an export will write it."""
    folder_files: Mapping[str, bytes]
    """Tokenizer files by name, as an export will write them."""
    base_hash: str = ""
    """Identity of the frozen base under an adapter; empty where everything is trained."""


def load_model(model: ModelSettings, seed: int, dtype: str | None = None, *, settle: bool = True) -> Loaded:
    """Build or open the configured model on this thread's default device, with its adapter. Imports mlx and mlx_lm.

    `dtype` overrides `model.dtype`; `auto` means float32 on a CPU and bfloat16 elsewhere. Random weights depend on
    `seed` alone. Without `settle` nothing is evaluated but a base under an adapter, whose hash is taken. Raises
    ModelError for whatever is missing, unknown or broken.
    """
    base = load_base(model, seed, dtype, settle=settle)
    if model.adapter.type == "full":
        if bits := bits_of(base.config):
            raise ModelError(
                f"{model.path or 'the model'} is in {bits} bits, which cannot be trained themselves "
                '(model.adapter.type = "full"); set model.adapter.type to "lora" or "dora"'
            )
        return base
    identity = base_hash(_parameters(base.model))
    attach(base.model, model.adapter, seed, resolve_dtype(dtype or model.dtype))
    if settle:
        _settle(base.model)
    return replace(base, base_hash=identity)


def load_base(model: ModelSettings, seed: int, dtype: str | None = None, *, settle: bool = True) -> Loaded:
    """The same without the adapter: in the configured dtype, quantised if so configured. Raises ModelError."""
    chosen = resolve_dtype(dtype or model.dtype)
    loaded = _open_folder(model, find_folder(model.path, model.revision)) if model.path else _build(model, seed)
    _cast(loaded.model, chosen)
    if model.quantize_bits:
        loaded = replace(loaded, config=quantize(loaded.model, loaded.config, model.quantize_bits))
    if settle:
        _settle(loaded.model)
    return loaded


def load_tokenizer(model: ModelSettings) -> Any:
    """The configured model's tokenizer (mlx_lm's TokenizerWrapper) without its weights. Raises ModelError."""
    if not model.path:
        return open_tokenizer(_scratch_files(model), model.stop_tokens, ())
    folder = find_folder(model.path, model.revision)
    config = _read_config(folder)
    return open_tokenizer(tokenizer_files(folder, model.chat_template), model.stop_tokens, _eos_ids(config))


def resolve_dtype(name: str, kind: DeviceKind | None = None) -> str:
    """`auto` -> float32 on a CPU (16-bit products are 8 times slower there), bfloat16 elsewhere.

    `kind` is what the model computes on; without it, what a worker of this machine does.
    """
    if name != "auto":
        return name
    return "float32" if (kind or default_kind()) is DeviceKind.CPU else "bfloat16"


def find_folder(path: str, revision: str = "main") -> Path:
    """The local folder of a model: `path` itself, or the hub's copy of it. Raises ModelError when there is neither."""
    folder = Path(path).expanduser()
    if folder.is_dir():
        return folder
    if folder.is_absolute() or path.startswith(("./", "../", "~")) or path.count("/") != 1:
        raise ModelError(f"model.path: {path} is not a folder; give a model's folder or a hub name such as org/name")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    patterns = ["*.json", "*.safetensors", "*.jinja", "*.txt", "*.model", "*.tiktoken"]
    try:
        return Path(snapshot_download(path, revision=revision, allow_patterns=patterns))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(f"model.path: {path} is no folder here, and the hub did not give it: {reason}") from error


def write_model_folder(folder: Path, loaded: Loaded, parameters: Mapping[str, Array]) -> tuple[Path, ...]:
    """Write a folder that `mlx_lm.load` opens unchanged: config.json, tokenizer files, model.safetensors.

    `parameters` are all parameters by dotted name, mlx or numpy arrays. Existing files of these names are replaced.
    Returns the written paths; raises ModelError when the folder cannot be written. Imports mlx.
    """
    import mlx.core as mx

    arrays = {name: value if isinstance(value, mx.array) else mx.array(value) for name, value in parameters.items()}
    weights = folder / "model.safetensors"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        contents = {"config.json": json_bytes(loaded.config), **loaded.folder_files}
        for name, content in contents.items():
            (folder / name).write_bytes(content)
        mx.save_safetensors(str(weights), arrays, metadata={"format": "mlx"})
    except (OSError, RuntimeError) as error:
        raise ModelError(f"{folder}: the model could not be written: {error}") from error
    return (weights, *(folder / name for name in contents))


def _build(model: ModelSettings, seed: int) -> Loaded:
    files = _scratch_files(model)
    tokenizer = open_tokenizer(files, model.stop_tokens, ())
    config = scratch_config(
        model.scratch,
        vocab_size=len(tokenizer),
        eos_token_ids=sorted(tokenizer.eos_token_ids),
        pad_token_id=tokenizer.pad_token_id,
    )
    return Loaded(build_model(config, seed=seed), tokenizer, config, files)


def _open_folder(model: ModelSettings, folder: Path) -> Loaded:
    from mlx_lm.utils import load_model as open_weights

    model_args_class(_read_config(folder))  # an unknown architecture gets its own sentence
    if not any(folder.glob("model*.safetensors")):
        raise ModelError(
            f"{folder}: there is no model*.safetensors in this folder; convert the model with mlx_lm.convert"
        )
    try:
        opened, config = open_weights(folder, lazy=True)
    except (ValueError, RuntimeError, KeyError, TypeError, OSError) as error:
        raise ModelError(f"{folder}: the weights do not fit config.json: {error}") from error
    files = tokenizer_files(folder, model.chat_template)
    tokenizer = open_tokenizer(files, model.stop_tokens, _eos_ids(config))
    return Loaded(opened, tokenizer, {**config, "eos_token_id": sorted(tokenizer.eos_token_ids)}, files)


def _cast(model: Any, dtype: str) -> None:
    import mlx.core as mx

    model.set_dtype(getattr(mx, dtype))


def _settle(model: Any) -> None:
    """Evaluate tensor by tensor: what each is made of (float32, unquantised) is gone before the next one's is there."""
    import mlx.core as mx

    for value in _parameters(model).values():
        mx.eval(value)


def _parameters(model: Any) -> dict[str, Any]:
    from mlx.utils import tree_flatten

    return dict(tree_flatten(model.parameters()))


def _read_config(folder: Path) -> dict[str, Any]:
    from mlx_lm.utils import load_config

    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder}: there is no config.json in this folder, so it is not a model")
    try:
        config = dict(load_config(folder))
    except (ValueError, TypeError, OSError) as error:
        raise ModelError(f"{folder}/config.json cannot be read: {error}") from error
    if "model_type" not in config:
        raise ModelError(f"{folder}/config.json has no model_type, so its architecture is unknown")
    return config


def _eos_ids(config: Mapping[str, Any]) -> tuple[int, ...]:
    """`eos_token_id` of config.json and generation_config.json: a number, a list, or nothing."""
    given = config.get("eos_token_id")
    if given is None:
        return ()
    return (given,) if isinstance(given, int) else tuple(given)


def _scratch_files(model: ModelSettings) -> dict[str, bytes]:
    name = model.scratch.tokenizer
    if name != "bytes":
        folder = Path(name).expanduser()
        if not folder.is_dir():
            raise ModelError(f'model.scratch.tokenizer: {name} is not a folder; give a tokenizer\'s folder or "bytes"')
        return tokenizer_files(folder, model.chat_template)
    with tempfile.TemporaryDirectory(prefix="mlx-distributed-") as written:
        write_bytes_tokenizer(Path(written))
        return tokenizer_files(Path(written), model.chat_template)
