"""Paths of a configuration, made absolute: they are meant from where its file stands, and a run outlives a `cd`."""

from __future__ import annotations

from pathlib import Path

from runtime.config.schema import Config

_NO_PATHS = ("", "auto", "bytes")
"""What stands where a path could and means something else, whatever lies beside the configuration."""


def anchored(config: Config, base: Path) -> Config:
    """The same configuration with every local path absolute. `run.output_dir` is meant from where the user stands."""
    data = config.data
    sources = tuple(source.model_copy(update={"path": _absolute(source.path, base)}) for source in data.sources)
    held_out = data.evaluation.model_copy(update={"path": _absolute(data.evaluation.path, base)})
    scratch = config.model.scratch.model_copy(update={"tokenizer": _if_it_exists(config.model.scratch.tokenizer, base)})
    model = config.model.model_copy(
        update={
            "path": _if_it_exists(config.model.path, base),
            "chat_template": _if_it_exists(config.model.chat_template, base),
            "scratch": scratch,
        }
    )
    run = config.run.model_copy(update={"output_dir": str(Path(config.run.output_dir).expanduser().absolute())})
    data = data.model_copy(update={"sources": sources, "evaluation": held_out})
    return config.model_copy(update={"data": data, "model": model, "run": run})


def _absolute(path: str, base: Path) -> str:
    if not path or path.startswith("hf:"):
        return path
    return str((base / Path(path).expanduser()).absolute())


def _if_it_exists(path: str, base: Path) -> str:
    """A hub name, or the name of a built-in, looks like a relative path: it is one only when it is there."""
    local = base / Path(path).expanduser() if path not in _NO_PATHS else None
    return str(local.absolute()) if local is not None and local.exists() else path
