"""Which checkpoints may go. The decision is pure; `prune` acts on it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from runtime.checkpoint import layout
from runtime.checkpoint.manifest import read_manifest
from runtime.errors import CheckpointError
from runtime.ids import Step


@dataclass(frozen=True)
class Keeping:
    """The rule: the newest `keep_last` stay, and the best `keep_best` by `metric`."""

    keep_last: int = 3
    keep_best: int = 1
    metric: str = "eval/loss"
    mode: Literal["min", "max"] = "min"


@dataclass(frozen=True)
class Saved:
    """What the rule looks at in one checkpoint."""

    step: Step
    metrics: Mapping[str, float]
    pinned: bool = False


def surplus(saved: Sequence[Saved], keeping: Keeping) -> tuple[Step, ...]:
    """The steps that may go, oldest first. Never the newest, never a pinned one, whatever the rule says."""
    ordered = sorted(saved, key=lambda each: each.step)
    stay = {each.step for each in ordered[-max(1, keeping.keep_last) :]}
    stay |= {each.step for each in ordered if each.pinned}
    stay |= set(best(ordered, keeping)[: keeping.keep_best])
    return tuple(each.step for each in ordered if each.step not in stay)


def best(saved: Sequence[Saved], keeping: Keeping) -> list[Step]:
    """Steps from best to worst by the rule's metric; of equals the newer first. Only those with a finite value."""
    sign = 1.0 if keeping.mode == "min" else -1.0
    scored = [
        (sign * value, -each.step)
        for each in saved
        if (value := each.metrics.get(keeping.metric)) is not None and math.isfinite(value)
    ]
    return [Step(-step) for _, step in sorted(scored)]


def saved_in(root: Path) -> list[Saved]:
    """What the manifests under `root` say, oldest first; unreadable ones are left out. Raises OSError for `root`."""
    found = []
    for folder in reversed(layout.checkpoint_folders(root)):
        try:
            manifest = read_manifest(folder)
        except (CheckpointError, OSError):  # the reader's business: retention neither counts nor deletes it
            continue
        found.append(Saved(manifest.step, manifest.metrics, (folder / layout.PINNED_NAME).exists()))
    return found


def prune(root: Path, keeping: Keeping, *, on_removed: Callable[[Step, Path], None], dry_run: bool = False) -> None:
    """Delete what the rule gives up, oldest first, and say each; with `dry_run` only say.

    Raises the first OSError when all were tried: one folder that cannot go does not keep the others.
    """
    failures: list[OSError] = []
    for step in surplus(saved_in(root), keeping):
        folder = root / layout.folder_name(step)
        try:
            if not dry_run:
                layout.remove(folder)
        except OSError as error:
            failures.append(error)
        else:
            on_removed(step, folder)
    if failures:
        raise failures[0]
