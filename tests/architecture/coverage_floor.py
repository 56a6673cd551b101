"""The coverage floor: every module of ours, not their average, has 90 % of its lines and branches run by tests.

Usage: python -P tests/architecture/coverage_floor.py coverage.json      (`coverage json` wrote it)
Prints each module below the floor with what it misses; exit code 1 when there is one.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FLOOR_PERCENT = 90.0


@dataclass(frozen=True)
class Shortfall:
    """One module below the floor."""

    module: str
    percent: float
    lines: tuple[int, ...]
    branches: tuple[tuple[int, int], ...]
    """(from line, to line) of jumps not taken, from lines that did run; a negative target leaves the function."""

    def __str__(self) -> str:
        jumps = " ".join(f"{start}->{end}" for start, end in self.branches)
        return f"{self.module}: {self.percent:.1f} %; lines {ranges(self.lines) or '-'}; branches {jumps or '-'}"


def shortfalls(report: Mapping[str, Any], floor_percent: float = FLOOR_PERCENT) -> list[Shortfall]:
    """The modules of a `coverage json` report that are below the floor, worst first. Modules without code are fine."""
    found = [
        Shortfall(
            module=module,
            percent=float(measured["summary"]["percent_covered"]),
            lines=tuple(measured["missing_lines"]),
            branches=tuple((a, b) for a, b in measured["missing_branches"] if a not in measured["missing_lines"]),
        )
        for module, measured in report["files"].items()
    ]
    return sorted((one for one in found if one.percent < floor_percent), key=lambda one: one.percent)


def ranges(numbers: tuple[int, ...]) -> str:
    """`3-5 9` for 3, 4, 5, 9."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return " ".join(f"{first}-{last}" if last > first else str(first) for first, last in spans)


def main(path: Path) -> int:
    """Judge the report at `path`; returns the exit code."""
    report = json.loads(path.read_text(encoding="utf-8"))
    low = shortfalls(report)
    for one in low:
        print(one)
    count, total = len(report["files"]), report["totals"]["percent_covered"]
    print(f"coverage: {count} modules, {total:.1f} % together, {len(low)} below {FLOOR_PERCENT:g} %")
    return 1 if low or not count else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
