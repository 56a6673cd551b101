"""A run's folder in small that trained an adapter: its base, its checkpoint, and a configuration that names both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten

from runtime.checkpoint.draft import write_checkpoint
from runtime.checkpoint.manifest import Provenance
from runtime.config.model import AdapterSettings, ModelSettings
from runtime.flow import Snapshot
from runtime.ids import Cursor, Generation, Rank, Step
from runtime.models.adapter import adapter_config
from runtime.models.base import base_name
from runtime.models.generate import generate
from runtime.models.load import Loaded, load_base, load_model, write_model_folder
from tests.unit.models.conftest import scratch, small_model

PROMPT = [72, 105, 33, 10]


class Trained:
    """A base folder, an adapter that changes what the base says, and a checkpoint of the adapter."""

    def __init__(self, folder: Path, kind: str, bits: int) -> None:
        base = load_base(small_model(scratch=scratch(hidden_size=64), quantize_bits=bits), 7)
        self.base = folder / "base"
        write_model_folder(self.base, base, dict(tree_flatten(base.model.parameters())))
        adapter = AdapterSettings.model_validate({"type": kind, "rank": 4, "scale": 2.0, "layers": 1})
        self.settings = ModelSettings(path=str(self.base), adapter=adapter)
        self.loaded: Loaded = load_model(self.settings, 1)
        mx.random.seed(5)
        model: Any = self.loaded.model
        learnt = {
            name: mx.random.normal(value.shape) * 0.2 if "lora_b" in name else value
            for name, value in tree_flatten(model.trainable_parameters())
        }
        mx.eval(learnt)
        model.load_weights(list(learnt.items()), strict=False)
        about = Provenance(
            "r", "llama", "", "adamw", Generation(1), (Rank(0),), base_name(self.settings), self.loaded.base_hash
        )
        write_checkpoint(Snapshot(Step(3), Cursor(0), learnt, {}), folder / "checkpoints", about)
        self.checkpoint = folder / "checkpoints" / "step-00000003"
        self.description = folder / "model"
        self.description.mkdir()
        config = adapter_config(model, adapter)
        (self.description / "adapter_config.json").write_text(json.dumps(config))

    def says(self) -> str:
        return said(self.loaded.model, self.loaded.tokenizer)


def said(model: Any, tokenizer: Any) -> str:
    return generate(model, tokenizer, PROMPT, max_tokens=12).text
