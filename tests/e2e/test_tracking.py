"""A tracker in trouble is not the run's trouble."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.events import StepCommitted, Warned
from tests.support.fake_wandb import FakeWandb
from tests.support.run_process import RunProcess
from tests.support.tiny import write_tiny_config

pytestmark = pytest.mark.slow
GUARD_SECONDS = 300.0


def test_a_wandb_that_hangs_for_ever_is_a_warning_and_the_run_is_done(tmp_path: Path) -> None:
    fake = FakeWandb(tmp_path, "init hangs")
    extra = {
        "parallel": {"workers": 1},
        "wandb": {"mode": "online", "init_timeout_s": 1},
        "cluster": {"env": {**fake.environment, "PYTHONPATH": fake.path}},
    }
    config = write_tiny_config(tmp_path, steps=3, extra=extra)
    with RunProcess(config, tmp_path) as run:
        assert run.finish(within_seconds=GUARD_SECONDS) == 0, run.tail()
        assert [step.step for step in run.events(StepCommitted)] == [1, 2, 3]
        assert all("wandb" in warned.place for warned in run.events(Warned))
    assert len(fake.told("init")) <= 1  # not at all, where the run was done before the tracker was up
