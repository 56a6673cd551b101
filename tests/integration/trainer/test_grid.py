"""Runs on a grid of data x pipeline, with every actor of the coordinator and of the workers, in one process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime import events as facts
from runtime.checkpoint.reader import load
from tests.integration.trainer.grid import GridRun, compile_again
from tests.support.tiny import write_tiny_config

SIZES = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 24}


@pytest.fixture(autouse=True)
def compiler() -> Iterator[None]:
    yield
    compile_again()


def run_of(folder: Path, steps: int, workers: int, stages: int, *, deaths: Any = None, every: int = 2) -> GridRun:
    """A run of `folder`, to be played: each one goes on where the one before it ended."""
    settings = folder / f"settings-{workers}-{stages}-{steps}"
    extra: dict[str, dict[str, Any]] = {
        "run": {"seed": 7, "deterministic": True},
        "model": {"scratch": SIZES},
        "data": {
            "max_length": 128,
            "source": [{"path": str(settings / "train.jsonl")}],
            "eval": {"eval_fraction": 0.1},
        },
        "eval": {"generate": {"samples": 1, "max_tokens": 1}},
        "parallel": {"workers": workers, "pipeline": stages, "logical_shards": 4},
        "optim": {"lr": 1e-2, "schedule": "constant"},
        "checkpoint": {"every": every},
    }
    config = write_tiny_config(settings, steps=steps, extra=extra)
    return GridRun(config, folder / "run", deaths=deaths or {})


def losses(*runs: GridRun) -> list[float]:
    return [fact.loss for run in runs for fact in run.of(facts.StepCommitted)]


def parameters(folder: Path, step: int) -> dict[str, Any]:
    state = load(folder / "run" / "checkpoints" / f"step-{step:08d}")
    return {name: np.array(value) for name, value in state.parameters.items()}


async def test_a_run_goes_on_with_stages_and_without_and_its_losses_are_those_of_one_worker(tmp_path: Path) -> None:
    alone = await run_of(tmp_path / "alone", 6, 1, 1).play()
    legs = [
        await run_of(tmp_path / "legs", steps, *shape).play()
        for steps, shape in ((2, (2, 2)), (4, (1, 1)), (6, (4, 2)))
    ]
    assert losses(*legs) == pytest.approx(losses(alone), rel=1e-5)
    for name, value in parameters(tmp_path / "alone", 6).items():
        np.testing.assert_allclose(parameters(tmp_path / "legs", 6)[name], value, rtol=1e-4, atol=1e-5, err_msg=name)
    (first, *_, last) = [fact.loss for run in (alone, legs[-1]) for fact in run.of(facts.EvaluationFinished)]
    assert last < first
    assert {fact.rank for fact in legs[-1].of(facts.DeviceMeasured) if fact.planned_bytes} == {0, 1, 2, 3}


async def test_a_stage_that_dies_is_healed_by_its_twin_and_the_run_has_the_same_losses(tmp_path: Path) -> None:
    quiet = await run_of(tmp_path / "quiet", 3, 1, 1).play()
    run = await run_of(tmp_path / "killed", 3, 4, 2, deaths={1: (2, "pipeline")}, every=0).play()
    assert run.incarnations == {0: 1, 1: 2, 2: 1, 3: 1}
    assert [(fact.rank, fact.sources) for fact in run.of(facts.StateHealed)] == [(1, (3,))]
    assert run.of(facts.RolledBack) == []
    assert losses(run) == pytest.approx(losses(quiet), rel=1e-5)


async def test_a_stage_without_a_twin_takes_all_back_to_the_checkpoint(tmp_path: Path) -> None:
    run = await run_of(tmp_path, 4, 2, 2, deaths={1: (4, "pipeline")}).play()
    assert [(fact.from_step, fact.to_step) for fact in run.of(facts.RolledBack)] == [(3, 2)]
    found = losses(run)
    assert found[2:3] == found[3:4]
    assert len(found) == 5
