"""The floor itself: it must fall on one bad module among many good ones, and on a report of nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.architecture.coverage_floor import main, ranges, shortfalls


def report(**percents: float) -> dict[str, Any]:
    def measured(percent: float) -> dict[str, Any]:
        return {
            "summary": {"percent_covered": percent},
            "missing_lines": [3, 4, 5, 9],
            "missing_branches": [[4, 5], [7, -1]],
        }

    files = {f"runtime/{name}.py": measured(percent) for name, percent in percents.items()}
    return {"files": files, "totals": {"percent_covered": 99.0}}


def test_one_bad_module_among_good_ones_is_named_with_what_it_misses() -> None:
    (low,) = shortfalls(report(good=100.0, at_the_floor=90.0, bad=89.9))
    assert str(low) == "runtime/bad.py: 89.9 %; lines 3-5 9; branches 7->-1"


def test_the_worst_module_comes_first() -> None:
    assert [low.module for low in shortfalls(report(bad=80.0, worse=10.0))] == ["runtime/worse.py", "runtime/bad.py"]


@pytest.mark.parametrize(("measured", "code"), [({"good": 95.0}, 0), ({"bad": 50.0}, 1), ({}, 1)])
def test_the_exit_code_tells_and_a_report_of_nothing_is_no_success(
    measured: dict[str, float], code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "coverage.json"
    path.write_text(json.dumps(report(**measured)))
    assert main(path) == code
    assert "below 90 %" in capsys.readouterr().out


def test_lines_are_told_as_ranges() -> None:
    assert ranges((1, 2, 3, 7, 9, 10)) == "1-3 7 9-10"
    assert ranges(()) == ""
