"""Rows of data sets of the Hugging Face hub, through `datasets`: an optional extra.

A name is `hf:org/name`, with a configuration and a split where the data set has several: `hf:org/name/config:split`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from runtime.errors import DataError

_PREFIX = "hf:"
_NAME = re.compile(r"hf:(?P<repository>[\w.-]+/[\w.-]+)(?:/(?P<config>[\w.-]+))?(?::(?P<split>[\w.\[\]%:+-]+))?")

Loader: TypeAlias = Callable[..., Any]
"""`datasets.load_dataset`."""


@dataclass(frozen=True)
class HubName:
    """What a source of the hub names."""

    repository: str
    config: str | None
    split: str


def is_hub_name(path: str) -> bool:
    """Whether this source lies on the hub."""
    return path.startswith(_PREFIX)


def parse_hub_name(path: str) -> HubName:
    """The parts of `hf:org/name/config:split`; the split is `train` where none is named. Raises DataError."""
    found = _NAME.fullmatch(path)
    if found is None:
        raise DataError(
            f"data.source.path: {path} is no name of the hub; write hf:org/name or hf:org/name/config:split"
        )
    return HubName(found["repository"], found["config"], found["split"] or "train")


def rows_of_hub(
    path: str, cache_dir: Path | None = None, load: Loader | None = None, *, streaming: bool = False
) -> Iterator[tuple[int, Any]]:
    """(number from 1, row) of every row, downloaded into `cache_dir` when it is not there yet.

    With `streaming` nothing is left on the disk: rows come over the network while they are asked for.

    `load` is `datasets.load_dataset` unless given. Raises DataError where `datasets` is not installed, and for whatever
    keeps the data set from being loaded.
    """
    name = parse_hub_name(path)
    load = load or _loader(path)
    further = {"streaming": True} if streaming else {"cache_dir": None if not cache_dir else str(cache_dir)}
    try:
        rows = load(name.repository, name.config, split=name.split, **further)
    except Exception as error:  # the library's own, the hub's, the network's: all mean that there is no data
        first = str(error).partition("\n")[0]
        raise DataError(f"data.source.path: {path} cannot be loaded: {type(error).__name__}: {first}") from error
    yield from enumerate(rows, 1)


def _loader(path: str) -> Loader:
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise DataError(
            f"data.source.path: {path} lies on the hub, which needs datasets: install mlx-distributed[hf], "
            "or download the file and name it"
        ) from error
    found: Loader = load_dataset
    return found
