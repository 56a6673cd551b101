"""Adapters out of a checkpoint: mlx_lm itself answers with our own text, beside the base and fused with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest
from mlx.utils import tree_flatten

from runtime.checkpoint.draft import write_checkpoint
from runtime.checkpoint.export import export_adapter
from runtime.checkpoint.fuse import fuse
from runtime.checkpoint.manifest import Provenance
from runtime.checkpoint.refusals import ForeignCheckpoint
from runtime.config.model import AdapterSettings, ModelSettings
from runtime.errors import CheckpointError
from runtime.flow import Snapshot
from runtime.ids import Cursor, Generation, Rank, Step
from runtime.models.adapter import adapter_config
from runtime.models.base import base_name
from runtime.models.generate import generate
from runtime.models.load import Loaded, load_base, load_model, write_model_folder
from tests.unit.models.conftest import scratch, small_model

PROMPT = [72, 105, 33, 10]


class Trained:
    """A run folder in small: a base folder, an adapter that changes what it says, and a checkpoint of it."""

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


def opened(folder: Path, adapter: Path | None = None) -> str:
    """What mlx_lm, which knows nothing of ours, answers at temperature 0."""
    import mlx_lm

    model, tokenizer = mlx_lm.load(str(folder), adapter_path=None if adapter is None else str(adapter))[:2]
    return str(mlx_lm.generate(model, tokenizer, PROMPT, max_tokens=12))


@pytest.mark.parametrize(("kind", "bits"), [("lora", 0), ("dora", 0), ("lora", 4)])
def test_mlx_lm_answers_as_we_do_with_the_adapter_and_with_the_fused_folder(
    tmp_path: Path, kind: str, bits: int
) -> None:
    trained = Trained(tmp_path, kind, bits)
    ours = trained.says()
    size = export_adapter(trained.checkpoint, trained.description, tmp_path / "adapter")
    assert {path.name for path in (tmp_path / "adapter").iterdir()} == {"adapters.safetensors", "adapter_config.json"}
    assert size == (tmp_path / "adapter" / "adapters.safetensors").stat().st_size
    done = fuse(trained.checkpoint, trained.settings, 1, tmp_path / "fused", dequantize=bool(bits))
    assert done == ("adapter fused, 4 bits dequantised" if bits else "adapter fused")
    assert opened(trained.base, tmp_path / "adapter") == opened(tmp_path / "fused") == ours
    assert ours != opened(trained.base)


def test_a_quantised_base_is_quantised_again_unless_asked_otherwise(tmp_path: Path) -> None:
    trained = Trained(tmp_path, "lora", 8)
    done = fuse(trained.checkpoint, trained.settings, 1, tmp_path / "fused")
    assert done == "adapter fused, quantised again in 8 bits"
    assert json.loads((tmp_path / "fused" / "config.json").read_text())["quantization"]["bits"] == 8


def test_another_base_and_a_missing_description_are_refused(tmp_path: Path) -> None:
    trained = Trained(tmp_path, "lora", 0)
    other = load_base(small_model(scratch=scratch(hidden_size=64)), 8)
    write_model_folder(trained.base, other, dict(tree_flatten(other.model.parameters())))
    with pytest.raises(ForeignCheckpoint, match="whose weights are not the ones that were loaded"):
        fuse(trained.checkpoint, trained.settings, 1, tmp_path / "fused")
    with pytest.raises(CheckpointError, match=r"holds no adapter_config.json"):
        export_adapter(trained.checkpoint, tmp_path, tmp_path / "adapter")
    assert not (tmp_path / "fused").exists()
