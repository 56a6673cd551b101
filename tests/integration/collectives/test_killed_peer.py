"""Real processes: a killed rank is noticed by every other at once, and leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

COUNT = 3
GUARD_SECONDS = 60
SHARED = Path("/dev/shm")


@contextmanager
def workers(folder: Path, lane: str) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that sum together; killed and reaped at the end."""
    command = [sys.executable, "-P", "-m", "tests.integration.collectives.summing_worker", str(folder)]
    started = [
        subprocess.Popen(
            [*command, str(rank), str(COUNT), lane], stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": ".:proto"}
        )
        for rank in range(COUNT)
    ]
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("lane", ["shm", "grpc"])
def test_a_killed_rank_is_lost_for_the_others_and_leaves_no_shared_memory(lane: str, tmp_path: Path) -> None:
    before = set(SHARED.iterdir()) if SHARED.is_dir() else set()
    with workers(tmp_path, lane) as started:
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == "step 1 3.0\n"
        started[1].kill()
        for rank in (0, 2):
            said, _ = started[rank].communicate(timeout=GUARD_SECONDS)
            *steps, last = said.splitlines()
            # The first survivor to notice names rank 1; by leaving it may become the loss that the other one sees.
            assert last in {"lost 1", f"lost {2 - rank}"}
            assert all(line.endswith("3.0") for line in steps)
            assert started[rank].returncode == 0
    after = set(SHARED.iterdir()) if SHARED.is_dir() else set()
    assert {path for path in after - before if "mlxd" in path.name} == set()
