"""Small states and the folders they are saved to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from runtime.checkpoint.draft import write_checkpoint
from runtime.checkpoint.manifest import Manifest, Provenance
from runtime.flow import Snapshot
from runtime.ids import Cursor, Generation, Rank, Step

PROVENANCE = Provenance(
    run="quickstart",
    architecture="llama",
    config_hash="c0ffee",
    optimizer="adamw",
    generation=Generation(3),
    ranks=(Rank(0), Rank(1)),
)


def snapshot(step: int, *, width: int = 4) -> Snapshot:
    """A tiny state whose every number depends on the step."""
    weight = np.arange(3 * width, dtype=np.float32).reshape(3, width) + step
    bias = np.full(width, step % 1000, np.float16)
    return Snapshot(
        step=Step(step),
        cursor=Cursor(step * 32),
        parameters={"model.layers.0.weight": weight, "model.layers.0.bias": bias},
        optimizer={"m.model.layers.0.weight": weight / 2, "v.model.layers.0.weight": weight**2},
        counters={"applied_steps": step, "tokens": step * 1000, "loss_scale": 0.5},
    )


def save(root: Path, *steps: int, **options: Any) -> list[Manifest]:
    """Write the checkpoints of these steps, in this order."""
    return [write_checkpoint(snapshot(step), root, PROVENANCE, **options) for step in steps]
