"""The short script that CI runs: each kind of fault once, in a real run of three workers, and nothing is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.disturbed import report_on, settings
from tests.chaos.script import FaultScript

pytestmark = pytest.mark.slow


def test_a_kill_a_crash_and_a_dead_coordinator_cost_no_sample_and_no_bit(tmp_path: Path) -> None:
    script = FaultScript().kill(rank=1, step=3).kill_coordinator(step=5).segfault(rank=0, step=8)
    report = report_on(tmp_path, script, settings(2))
    assert report.held, report
    assert all(recovery.whole_seconds is not None for recovery in report.recoveries), report
