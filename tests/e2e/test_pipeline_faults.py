"""A pipeline of the command, disturbed: stages are killed, stopped and interrupted, and the run changes its layout.

Each starts up to a dozen processes, so they are run by name: `pytest -m opt_in -s tests/e2e/test_pipeline_faults.py`.
"""

from __future__ import annotations

import math
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from runtime.checkpoint.reader import load
from runtime.events import (
    CheckpointWritten,
    EvaluationFinished,
    RolledBack,
    RunFinished,
    StateHealed,
    StepCommitted,
    WorkerHung,
    WorkerLost,
)
from runtime.ids import Rank
from tests.support.run_process import COMMAND, RunProcess
from tests.support.tiny import write_tiny_config

pytestmark = [pytest.mark.opt_in, pytest.mark.slow, pytest.mark.timeout(3600)]
GUARD_SECONDS = 1200.0
STEPS = 30
ALONE, TWO_STAGES, FOUR, TWO_BY_TWO = (1, 1), (2, 2), (4, 1), (4, 2)
"""(workers, stages)."""


def config_of(folder: Path) -> Path:
    """A deterministic run of a llama of four layers, with a rate that does not depend on how many steps are to come."""
    sizes = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 48}
    extra: dict[str, dict[str, Any]] = {
        "run": {"seed": 7, "deterministic": True},
        "model": {"scratch": sizes},
        "data": {
            "max_length": 128,
            "source": [{"path": str(folder / "train.jsonl")}],
            "eval": {"eval_fraction": 0.1},
        },
        "eval": {"every": 0},
        "parallel": {"logical_shards": 4},
        "optim": {"lr": 3e-3, "schedule": "constant", "warmup_steps": 0},
        "supervision": {"spare": 0, "backoff_s": 0.1, "intensity": 8, "hang_floor_s": 10.0},
    }
    return write_tiny_config(folder, steps=STEPS, extra=extra)


def started(folder: Path, layout: tuple[int, int], name: str = "tested") -> RunProcess:
    workers, stages = layout
    return RunProcess(
        config_of(folder),
        folder,
        name=name,
        arguments=["--workers", str(workers), "--set", f"parallel.pipeline={stages}"],
    )


def after_step(run: RunProcess, step: int) -> None:
    run.wait_for(StepCommitted, lambda fact: fact.step >= step, within_seconds=GUARD_SECONDS)


def losses(run: RunProcess) -> dict[int, float]:
    """Of each step; of one that was done again, the last time."""
    return {fact.step: fact.loss for fact in run.events(StepCommitted)}


def assert_same(found: dict[int, float], expected: dict[int, float]) -> None:
    worst = max(abs(found[step] / expected[step] - 1) for step in expected)
    print(f"losses of {len(found)} steps differ by {worst:.1e} at most")
    assert found.keys() == expected.keys()
    assert worst < 1e-5


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, float]]:
    """Losses of one worker that holds the whole model."""
    with started(tmp_path_factory.mktemp("alone"), ALONE) as run:
        assert run.finish(within_seconds=GUARD_SECONDS) == 0, run.tail()
        yield losses(run)


def test_a_killed_stage_is_healed_by_its_twin_and_no_step_is_rolled_back(
    undisturbed: dict[int, float], tmp_path: Path
) -> None:
    with started(tmp_path, TWO_BY_TWO) as run:
        after_step(run, 8)
        run.signal_worker(Rank(1), signal.SIGKILL)
        assert run.finish(within_seconds=GUARD_SECONDS) == 0, run.tail()
        assert [fact.rank for fact in run.events(WorkerLost)] == [1]
        assert [(fact.rank, fact.sources) for fact in run.events(StateHealed)] == [(1, (3,))]
        assert run.events(RolledBack) == []
        assert len(run.events(StepCommitted)) == STEPS
        assert_same(losses(run), undisturbed)


def test_a_killed_stage_without_a_twin_takes_the_run_back_to_its_checkpoint(
    undisturbed: dict[int, float], tmp_path: Path
) -> None:
    with started(tmp_path, TWO_STAGES) as run:
        after_step(run, 8)
        run.signal_worker(Rank(1), signal.SIGKILL)
        assert run.finish(within_seconds=GUARD_SECONDS) == 0, run.tail()
        (back,) = run.events(RolledBack)
        assert (back.from_step >= 8, back.to_step % 5) == (True, 0)
        assert_same(losses(run), undisturbed)


def test_a_stopped_stage_is_found_hung(undisturbed: dict[int, float], tmp_path: Path) -> None:
    with started(tmp_path, TWO_BY_TWO) as run:
        after_step(run, 8)
        run.signal_worker(Rank(2), signal.SIGSTOP)
        hung = run.wait_for(WorkerHung, within_seconds=GUARD_SECONDS)
        assert hung.rank == 2
        assert run.finish(within_seconds=GUARD_SECONDS) == 0, run.tail()
        assert run.events(RolledBack) == []
        assert_same(losses(run), undisturbed)


def test_an_interrupted_run_goes_on_as_data_or_as_a_grid_and_mlx_lm_opens_what_it_exports(
    undisturbed: dict[int, float], tmp_path: Path
) -> None:
    for layout, until_step in ((FOUR, 8), (TWO_BY_TWO, 16), (FOUR, 24)):
        interrupted(tmp_path, layout, until_step)
    with started(tmp_path, TWO_STAGES) as run:
        assert run.finish(within_seconds=GUARD_SECONDS) == 0, run.tail()
        assert_same(losses(run), undisturbed)
        first, last = (run.events(EvaluationFinished)[at].loss for at in (0, -1))
        assert last < first
        run_folder = run.run_folder
    subprocess.run([COMMAND, "checkpoints", "export", run_folder, tmp_path / "exported"], check=True)
    assert is_opened_by_mlx_lm(tmp_path / "exported", run_folder)


def interrupted(folder: Path, layout: tuple[int, int], step: int) -> None:
    """The run in this layout until the user presses Ctrl-C: it ends with 130 and a checkpoint of its last step."""
    with started(folder, layout) as run:
        after_step(run, step)
        run.signal_root(signal.SIGINT)
        assert run.finish(within_seconds=GUARD_SECONDS) == 130, run.tail()
        assert run.events(CheckpointWritten)[-1].step == run.events(StepCommitted)[-1].step
        assert run.events(RunFinished)[-1].outcome == "stopped"


def is_opened_by_mlx_lm(exported: Path, run_folder: Path) -> bool:
    """Whether mlx_lm finds the checkpoint's parameters in the folder, and can compute with them."""
    import mlx.core as mx
    import mlx_lm
    import numpy as np
    from mlx.utils import tree_flatten

    model, _ = mlx_lm.load(str(exported))
    saved = load(run_folder / "checkpoints" / f"step-{STEPS:08d}").parameters
    found = dict(tree_flatten(model.parameters()))
    tokens: Sequence[int] = (5, 6, 7)
    finite = math.isfinite(float(mx.abs(model(mx.array([tokens]))).max().item()))
    return finite and all(np.array_equal(np.array(found[name]), np.array(saved[name])) for name in found)
