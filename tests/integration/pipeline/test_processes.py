"""A pipeline of real processes over the real transport gives the gradients of one device."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.pipeline.processes import run, worst_of
from tests.integration.pipeline.stage_process import Job


@pytest.mark.slow
def test_two_processes_give_the_gradients_of_one_and_each_loads_only_its_own(tmp_path: Path) -> None:
    job = Job("qwen3", 4, "interleaved", 2, 3, 0, shared_memory=True, result="")
    total, said = run(job, tmp_path)
    assert worst_of(job, total) <= 1
    assert [each["lanes"] for each in said] == [["shared memory"]] * 2
    for each in said:
        assert each["loaded_bytes"] < 1.3 * each["own_bytes"], "a stage must not evaluate what others own"
