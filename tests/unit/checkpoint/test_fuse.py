"""Adapters out of a checkpoint: mlx_lm itself answers with our own text, beside the base and fused with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mlx.utils import tree_flatten

from runtime.checkpoint.export import export_adapter
from runtime.checkpoint.fuse import fuse
from runtime.checkpoint.refusals import ForeignCheckpoint
from runtime.errors import CheckpointError
from runtime.models.load import load_base, write_model_folder
from tests.unit.checkpoint.adapters import PROMPT, Trained
from tests.unit.models.conftest import scratch, small_model


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
