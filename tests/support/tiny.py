"""The smallest run that is still a real one: a one-layer llama on a hundred sums, some milliseconds per step."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w

SAMPLES = 96
GLOBAL_BATCH = 16


def write_sums(path: Path, samples: int = SAMPLES) -> Path:
    """Alpaca-form sums, each once, of several lengths."""
    numbers = [(index * 37 % 1000, index * 11 % 89) for index in range(samples)]
    rows = [{"instruction": f"Add {a} and {b}.", "input": "", "output": str(a + b)} for a, b in numbers]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def tiny_tables(folder: Path, *, steps: int) -> dict[str, Any]:
    """The tables of a tiny configuration whose data lies in `folder`."""
    return {
        "run": {"seed": 7},
        "model": {
            "scratch": {
                "hidden_size": 32,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "intermediate_size": 64,
            }
        },
        "data": {"max_length": 128, "source": [{"path": str(folder / "train.jsonl")}]},
        "train": {"steps": steps, "global_batch_size": GLOBAL_BATCH, "micro_batch_size": 4},
        "optim": {"lr": 1e-3},
        "parallel": {"workers": 2},
        "checkpoint": {"every": 5},
        "supervision": {"spare": 0},
    }


def write_tiny_config(folder: Path, *, steps: int = 20, extra: Mapping[str, Mapping[str, Any]] | None = None) -> Path:
    """Write data and configuration of a tiny run into `folder`; keys of `extra` replace those of the same table."""
    folder.mkdir(parents=True, exist_ok=True)
    write_sums(folder / "train.jsonl")
    tables = tiny_tables(folder, steps=steps)
    for table, keys in (extra or {}).items():
        tables[table] = {**tables.get(table, {}), **keys}
    path = folder / "tiny.toml"
    path.write_text(tomli_w.dumps(tables))
    return path
