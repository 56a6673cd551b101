"""A worker's gradients in a process whose address space has a real limit (RLIMIT_AS)."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.support.repository import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS limits nothing on macOS")


def limited(room_for_rows: float) -> dict[str, Any]:
    words = [sys.executable, "-P", "-m", "tests.integration.trainer.limited", str(room_for_rows)]
    env = {"PYTHONPATH": f"{ROOT}:{ROOT / 'proto'}", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_a_micro_batch_that_does_not_fit_is_halved_until_it_does_and_the_bits_are_those_of_the_smaller_size() -> None:
    found = limited(2.5)
    assert found["rows"] == [[3, 8, 4], [3, 4, 2]]
    assert found["tallies"] == [[8 * 64, [0, 1, 2, 3, 4, 5, 6, 7]]]
    assert found["same_bits"]
    assert not found["left"]


def test_after_three_failures_with_a_single_row_the_worker_leaves_and_says_why() -> None:
    found = limited(0.3)
    assert found["rows"] == [[3, 8, 4], [3, 4, 2], [3, 2, 1], [3, 1, 1], [3, 1, 1], [3, 1, 1]]
    assert "worker 3 ran out of memory 3 times with a single row at once" in found["left"]
    assert found["tallies"] == []
