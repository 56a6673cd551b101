"""The short form of `python -m tests.chaos.checkpoints`; `tests/integration/checkpoint` kills the writers."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.checkpoint.reader import verify
from runtime.events import (
    CheckpointFailed,
    CheckpointStarted,
    CheckpointWritten,
    RolledBack,
    StepCommitted,
    WorkerLost,
)
from runtime.ids import Rank
from tests.chaos.checkpoints import damages, everything, flips, memory
from tests.support.run_process import RunProcess
from tests.support.tiny import write_tiny_config
from tests.support.waiting import until

pytestmark = pytest.mark.slow
GUARD_SECONDS = 600.0


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="mlxd-checkpoints-", dir=memory()) as name:
        yield Path(name)


def test_every_flipped_bit_is_noticed_and_the_newest_good_checkpoint_is_loaded(folder: Path) -> None:
    found = flips(folder, 60, seed=7)
    assert found.wrong == []
    assert {"LATEST", "manifest.json", "parameters-0.safetensors", "optimizer.safetensors"} <= found.hit.keys()


def test_every_other_damage_is_noticed_or_mended(folder: Path) -> None:
    assert damages(folder).wrong == []


@pytest.mark.opt_in
@pytest.mark.timeout(7200)
def test_a_thousand_flips_and_two_hundred_kills(folder: Path) -> None:
    found = everything(folder, flip_trials=1000, kill_trials=200, seed=1)
    for name, tally in found.items():
        print(f"{name}: {tally}")
        assert tally.wrong == []


@pytest.mark.opt_in
@pytest.mark.timeout(1800)
def test_a_worker_killed_while_it_writes_its_share_costs_one_attempt_and_no_step(tmp_path: Path) -> None:
    scratch = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 40_000}
    tables: dict[str, dict[str, Any]] = {
        "model": {"scratch": scratch},
        "parallel": {"workers": 3},
        "checkpoint": {"every": 2, "keep_last": 9},
    }
    config = write_tiny_config(tmp_path, steps=8, extra=tables)
    with RunProcess(config, tmp_path) as run:
        drafts = run.run_folder / "checkpoints"
        until(
            lambda: list(drafts.glob("*.tmp/*-1.safetensors")), within_seconds=GUARD_SECONDS, what=run.tail,
        )  # fmt: skip
        run.signal_worker(Rank(1))
        assert run.finish(within_seconds=GUARD_SECONDS) == 0, run.tail()
        commits, saved = run.events(StepCommitted), run.events(CheckpointWritten)
        print([(type(fact).__name__, getattr(fact, "step", "")) for fact in run.events(object) if said_of_saving(fact)])
        assert [commit.step for commit in commits] == list(range(1, 9))
        assert run.events(RolledBack) == []
        assert [len(verify(run.run_folder / fact.path).files) for fact in saved][-1] >= 4
        assert not list(drafts.glob("*.tmp"))


def said_of_saving(fact: object) -> bool:
    """What the attempts at checkpoints and the loss of a worker look like in the journal."""
    return isinstance(fact, CheckpointStarted | CheckpointWritten | CheckpointFailed | WorkerLost)
