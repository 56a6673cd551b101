"""The long ones, by name only: `pytest -m opt_in tests/chaos`. Each prints its report."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.chaos.disturbed import report_on, settings
from tests.chaos.resumes import resumed
from tests.chaos.roots import killed_roots, random_moments
from tests.chaos.script import Kind, random_script

pytestmark = [pytest.mark.opt_in, pytest.mark.timeout(7200)]
AT_MOST_SECONDS = 3.0


def test_twenty_kills_of_one_of_two_workers(tmp_path: Path) -> None:
    report = report_on(tmp_path, random_script(1, count=20, workers=2), settings(2, hidden=64, layers=2))
    print(report)
    assert report.held
    times = sorted(recovery.next_commit_seconds or 1e9 for recovery in report.recoveries)
    assert times[len(times) // 2] <= AT_MOST_SECONDS


def test_a_hundred_kills_of_one_of_four_workers(tmp_path: Path) -> None:
    report = report_on(tmp_path, random_script(2, count=100, workers=4), settings(4, hidden=64, layers=2))
    print(report)
    assert report.held


def test_three_hundred_mixed_faults(tmp_path: Path) -> None:
    script = random_script(3, count=300, workers=3, kinds=list(Kind), most_delay_seconds=15.0)
    report = report_on(tmp_path, script, settings(3, hidden=64, layers=2))
    print(report)
    assert report.held


def test_the_coordinator_killed_twenty_times(tmp_path: Path) -> None:
    script = random_script(4, count=20, workers=2, kinds=[Kind.COORDINATOR])
    report = report_on(tmp_path, script, settings(2, hidden=64, layers=2))
    print(report)
    assert report.held


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_ten_roots_leave_nobody_and_nothing_is_lost(tmp_path: Path, number: signal.Signals) -> None:
    outcome = killed_roots(tmp_path, random_moments(5, 10), number)
    print(outcome)
    assert outcome.held


@pytest.mark.parametrize("deterministic", [False, True])
def test_a_run_continued_by_other_numbers_of_workers_is_the_run_of_one_worker(
    tmp_path: Path, deterministic: bool
) -> None:
    report = resumed(tmp_path, (4, 3, 1, 2), steps=40, deterministic=deterministic, width=64)
    print(report)
    assert report.held
