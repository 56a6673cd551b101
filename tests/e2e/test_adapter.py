"""A whole run that trains an adapter: the same bits on other workers and after a stop; mlx_lm opens what it left."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from console.cli.main import main
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
    "parallel": {"workers": 1},
}


def test_an_adapter_beside_a_quantised_base_survives_a_stop_and_is_fused(tmp_path: Path) -> None:
    quiet, stopped = (tmp_path / name for name in ("quiet", "stopped"))
    config = write_tiny_config(tmp_path, steps=STEPS, extra=SETTINGS)
    quiet.mkdir()
    stopped.mkdir()
    with RunProcess(config, quiet) as calm, RunProcess(config, stopped, arguments=("--workers", "2")) as run:
        run.wait_for(StepCommitted, within_seconds=GUARD_SECONDS)
        run.signal_root(signal.SIGINT)
        assert run.finish(within_seconds=GUARD_SECONDS) == 130, run.tail()
        assert calm.finish(within_seconds=GUARD_SECONDS) == 0, calm.tail()
        (started,) = calm.events(RunStarted)
        assert started.trained_parameters == 512 < started.parameters
        expected, sample = calm.events(CheckpointWritten)[-1], calm.events(SampleGenerated)[-1]
    with RunProcess(config, stopped) as run:
        assert run.finish(within_seconds=GUARD_SECONDS) == 0, run.tail()
        assert run.events(RunStarted)[-1].resumed_from
        found = run.events(CheckpointWritten)[-1]
    assert (found.step, found.parameter_hash) == (STEPS, expected.parameter_hash)
    assert expected.size_bytes < 20_000  # the adapter, its moments and a manifest, without the base
    fused = tmp_path / "fused"
    assert main(["checkpoints", "export", str(calm.run_folder), "--fuse", "--dequantize", str(fused)]) == 0
    assert answered(fused, sample.prompt) == sample.answer


def answered(folder: Path, question: str) -> str:
    """What mlx_lm makes of a question with the model of a folder."""
    from mlx_lm import generate, load

    model, tokenizer = load(str(folder))
    prompt = tokenizer.apply_chat_template([{"role": "user", "content": question}], add_generation_prompt=True)
    answer: str = generate(model, tokenizer, prompt, max_tokens=4)
    return answer
