"""Export: a checkpoint's parameters as a plain model folder that `mlx_lm.load` and `mlx_lm.generate` open.

An adapter's checkpoint becomes a folder for `mlx_lm.generate --adapter-path` instead.

A run keeps its model's description (config.json, tokenizer files) in `runs/<name>/model`; a checkpoint's parameter
files already are what `model.safetensors` must be. So exporting is copying, after a full verification.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runtime.checkpoint.durable import explain, sync_descriptor, sync_folder, write_file
from runtime.checkpoint.manifest import FileEntry
from runtime.checkpoint.reader import verify
from runtime.errors import CheckpointError

MODEL_FOLDER_NAME = "model"
ADAPTER_CONFIG_NAME = "adapter_config.json"
_WEIGHTS = ("*.safetensors", "model.safetensors.index.json")


def export(checkpoint: Path, model_folder: Path, target: Path) -> int:
    """Write a model folder to `target` and return the bytes of its weights. It appears whole or not at all.

    Raises CheckpointError: the checkpoint is broken, the model's description is missing, `target` holds something
    already, or the disk refuses.
    """
    parameters = [file for file in verify(checkpoint).files if file.role == "parameters"]
    if not (model_folder / "config.json").is_file():
        raise CheckpointError(
            f"{model_folder} holds no config.json, so nobody could open the weights; was the run folder copied in part?"
        )
    with appearing(target) as aside:
        shutil.copytree(model_folder, aside, ignore=shutil.ignore_patterns(*_WEIGHTS), dirs_exist_ok=True)
        _copy_weights(checkpoint, parameters, aside)
    return sum(file.size_bytes for file in parameters)


def export_adapter(checkpoint: Path, model_folder: Path, target: Path) -> int:
    """Write `adapters.safetensors` and `adapter_config.json` to `target` and return the bytes of the first.

    It appears whole or not at all. Raises like `export`. Imports mlx.
    """
    import mlx.core as mx

    from runtime.checkpoint.reader import load

    parameters = dict(load(checkpoint).parameters)
    description = model_folder / ADAPTER_CONFIG_NAME
    if not description.is_file():
        raise CheckpointError(
            f"{model_folder} holds no {ADAPTER_CONFIG_NAME}, so nobody could open the adapter; was the run folder "
            "copied in part?"
        )
    with appearing(target) as aside:
        shutil.copyfile(description, aside / description.name)
        weights = aside / "adapters.safetensors"
        mx.save_safetensors(str(weights), parameters, metadata={"format": "mlx"})
    return (target / weights.name).stat().st_size


@contextmanager
def appearing(target: Path) -> Iterator[Path]:
    """A folder beside `target` to write into; it takes that name when the block is left without an exception.

    Raises CheckpointError if `target` holds something already, or the disk refuses.
    """
    aside = target.with_name(f"{target.name}.tmp")
    try:
        if target.exists() and any(target.iterdir()):
            raise CheckpointError(f"{target} is not empty; name a new folder")
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        yield aside
        sync_folder(aside)
        aside.rename(target)
        sync_folder(target.parent)
    except OSError as error:
        raise CheckpointError(f"cannot export to {target}: {explain(error, target.parent)}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _copy_weights(checkpoint: Path, parameters: list[FileEntry], folder: Path) -> None:
    """One file is `model.safetensors`; several are numbered and get the index that transformers asks for."""
    count = len(parameters)
    names = (
        ["model.safetensors"]
        if count == 1
        else [f"model-{i:05d}-of-{count:05d}.safetensors" for i in range(1, count + 1)]
    )
    for file, name in zip(parameters, names, strict=True):
        with (checkpoint / file.name).open("rb") as source, (folder / name).open("wb") as copy:
            shutil.copyfileobj(source, copy, 4 << 20)
            copy.flush()
            sync_descriptor(copy.fileno())
    if count > 1:
        places = {tensor: name for file, name in zip(parameters, names, strict=True) for tensor in file.tensors}
        index = {
            "metadata": {"total_size": sum(file.size_bytes for file in parameters)},
            "weight_map": dict(sorted(places.items())),
        }
        write_file(folder / "model.safetensors.index.json", json.dumps(index, indent=2).encode())
