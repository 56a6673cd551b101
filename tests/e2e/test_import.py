"""A configuration of mlx_lm.lora, imported by the command, trains the adapter that it describes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mlx.utils import tree_flatten

from console.cli.main import main
from runtime.config.model import ModelSettings, ScratchSettings
from runtime.events import EvaluationFinished, RunStarted, StepCommitted
from runtime.models.load import load_model, write_model_folder
from tests.support.run_process import RunProcess

pytestmark = pytest.mark.slow
GUARD_SECONDS = 300.0


def test_what_was_imported_trains(tmp_path: Path) -> None:
    scratch = ScratchSettings(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
    loaded = load_model(ModelSettings(scratch=scratch), seed=0, dtype="float32")
    write_model_folder(tmp_path / "model", loaded, dict(tree_flatten(loaded.model.parameters())))
    (tmp_path / "data").mkdir()
    rows = [{"prompt": f"{n} + 1 =", "completion": str(n + 1)} for n in range(16)]
    for name in ("train", "valid"):
        (tmp_path / "data" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "lora.yaml").write_text(
        "model: model\ntrain: true\ndata: data\nfine_tune_type: dora\noptimizer: adamw\nbatch_size: 4\niters: 6\n"
        "num_layers: 1\nlearning_rate: 1e-3\ngrad_accumulation_steps: 2\nmask_prompt: true\nval_batches: 1\n"
        "lora_parameters: {rank: 2, dropout: 0.1, scale: 4.0, keys: [self_attn.q_proj]}\n"
        "lr_schedule: {name: cosine_decay, warmup: 1, arguments: [1e-2, 3]}\n"
    )
    config = tmp_path / "mine.toml"
    assert main(["config", "import", str(tmp_path / "lora.yaml"), "--output", str(config)]) == 0
    with RunProcess(config, tmp_path, arguments=("--workers", "1", "--set", "supervision.spare=0")) as run:
        assert run.finish(within_seconds=GUARD_SECONDS) == 0, run.tail()
        (started,) = run.events(RunStarted)
        assert (started.trained_parameters, started.samples_per_step) == (2 * 32 * 2 + 32, 8)
        assert [step.step for step in run.events(StepCommitted)] == [1, 2, 3]
        assert run.events(EvaluationFinished)
