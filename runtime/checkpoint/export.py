"""Export: a checkpoint's parameters as a plain model folder that `mlx_lm.load` and `mlx_lm.generate` open.

A run keeps its model's description (config.json, tokenizer files) in `runs/<name>/model`; a checkpoint's parameter
files already are what `model.safetensors` must be. So exporting is copying, after a full verification.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from runtime.checkpoint.durable import explain, sync_descriptor, sync_folder, write_file
from runtime.checkpoint.manifest import FileEntry
from runtime.checkpoint.reader import verify
from runtime.errors import CheckpointError

MODEL_FOLDER_NAME = "model"
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
    aside = target.with_name(f"{target.name}.tmp")
    try:
        if target.exists() and any(target.iterdir()):
            raise CheckpointError(f"{target} is not empty; name a new folder")
        shutil.rmtree(aside, ignore_errors=True)
        aside.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(model_folder, aside, ignore=shutil.ignore_patterns(*_WEIGHTS))
        _copy_weights(checkpoint, parameters, aside)
        sync_folder(aside)
        aside.rename(target)
        sync_folder(target.parent)
    except OSError as error:
        shutil.rmtree(aside, ignore_errors=True)
        raise CheckpointError(f"cannot export to {target}: {explain(error, target.parent)}") from error
    return sum(file.size_bytes for file in parameters)


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
