"""A whole run that trains an adapter: the same bits on other workers and after a stop; mlx_lm opens what it left."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from runtime.events import CheckpointWritten, RunStarted, SampleGenerated, StepCommitted
from tests.support.run_process import RunProcess
from tests.support.tiny import write_tiny_config

pytestmark = pytest.mark.slow
GUARD_SECONDS = 300.0
STEPS = 4
SETTINGS: dict[str, dict[str, object]] = {
    "run": {"seed": 7, "deterministic": True},
    "model": {
        "scratch": {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64},
        "quantize_bits": 8,
        "adapter": {"type": "lora", "rank": 2, "dropout": 0.2, "keys": ["self_attn.q_proj", "mlp.down_proj"]},
    },
    "data": {"eval": {"eval_fraction": 0.1}},
    "eval": {"generate": {"samples": 1, "max_tokens": 4}},
    "train": {"steps": STEPS, "global_batch_size": 16, "micro_batch_size": 4, "grad_checkpoint": "layer"},
    "optim": {"lr": 1e-2, "schedule": "constant"},
}


def test_an_adapter_beside_a_quantised_base_survives_a_stop_and_is_fused(tmp_path: Path) -> None:
    quiet = write_tiny_config(tmp_path / "quiet", steps=STEPS, extra=SETTINGS)
    with RunProcess(quiet, tmp_path / "quiet", arguments=("--workers", "1")) as run:
        assert run.finish(within_seconds=GUARD_SECONDS) == 0, run.tail()
        (started,) = run.events(RunStarted)
        assert started.trained_parameters == 512 < started.parameters
        expected, sample = run.events(CheckpointWritten)[-1], run.events(SampleGenerated)[-1]
        fused = export_fused(run, tmp_path / "fused")
    disturbed = write_tiny_config(tmp_path / "disturbed", steps=STEPS, extra=SETTINGS)
    with RunProcess(disturbed, tmp_path / "disturbed") as run:
        run.wait_for(StepCommitted, within_seconds=GUARD_SECONDS)
        run.signal_root(signal.SIGINT)
        assert run.finish(within_seconds=GUARD_SECONDS) == 130, run.tail()
    with RunProcess(disturbed, tmp_path / "disturbed") as run:
        assert run.finish(within_seconds=GUARD_SECONDS) == 0, run.tail()
        assert run.events(RunStarted)[-1].resumed_from
        found = run.events(CheckpointWritten)[-1]
    assert (found.step, found.parameter_hash) == (STEPS, expected.parameter_hash)
    assert expected.size_bytes < 20_000  # the adapter, its moments and a manifest, without the base
    assert answered(fused, sample.prompt) == sample.answer


def export_fused(run: RunProcess, folder: Path) -> Path:
    """A plain model folder: the adapter in its base, and no quantisation."""
    command = [run.command[0], "checkpoints", "export", str(run.run_folder), "--fuse", "--dequantize", str(folder)]
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=GUARD_SECONDS).stdout
    assert f"of step {STEPS}" in said
    return folder


def answered(folder: Path, question: str) -> str:
    """What mlx_lm makes of a question with the model of a folder."""
    from mlx_lm import generate, load

    model, tokenizer = load(str(folder))
    prompt = tokenizer.apply_chat_template([{"role": "user", "content": question}], add_generation_prompt=True)
    answer: str = generate(model, tokenizer, prompt, max_tokens=4)
    return answer
