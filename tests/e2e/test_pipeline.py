"""The command trains two stages of a model: each on a worker of its own, into the files of any other run."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.checkpoint.reader import verify
from runtime.events import DeviceMeasured, EvaluationFinished, StepCommitted
from tests.support.run_process import RunProcess
from tests.support.tiny import write_tiny_config

pytestmark = pytest.mark.slow
GUARD_SECONDS = 300.0
STEPS = 10


def test_a_pipeline_trains_evaluates_and_saves_what_any_run_can_go_on_from(tmp_path: Path) -> None:
    scratch = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    source = [{"path": str(tmp_path / "train.jsonl")}]
    extra = {
        "model": {"scratch": scratch},
        "data": {"max_length": 128, "source": source, "eval": {"eval_fraction": 0.1}},
        "checkpoint": {"every": 5},
    }
    config = write_tiny_config(tmp_path, steps=STEPS, extra=extra)
    with RunProcess(config, tmp_path, arguments=["--set", "parallel.pipeline=2", "--workers", "2"]) as run:
        assert run.finish(within_seconds=GUARD_SECONDS) == 0, run.tail()
    assert max(fact.step for fact in run.events(StepCommitted)) == STEPS
    first, last = (fact.loss for fact in run.events(EvaluationFinished)[:: len(run.events(EvaluationFinished)) - 1])
    assert last < first
    assert {fact.rank for fact in run.events(DeviceMeasured) if fact.peak_bytes and fact.planned_bytes} == {0, 1}
    manifest = verify(run.run_folder / "checkpoints" / f"step-{STEPS:08d}")
    assert len(manifest.files) == 4
