"""The console in a real terminal: what it paints first, how it is left, and that a lost terminal ends it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.terminals import Terminal
from tests.unit.console.seats import written
from tests.unit.view.told import begun, steps

pytestmark = pytest.mark.slow

HANG_SECONDS = 120.0
COLOURS = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8"}
ENTRY = "import sys; from console.cli.main import main; sys.exit(main())"


@contextmanager
def terminal(*words: str, hangs_on: bool = False, **env: str) -> Iterator[Terminal]:
    opened = Terminal([sys.executable, "-P", "-c", ENTRY, "console", *words], env={**COLOURS, **env}, hangs_on=hangs_on)
    try:
        yield opened
    finally:
        opened.end()


def test_a_run_is_painted_and_left_with_the_terminal_in_order(tmp_path: Path) -> None:
    folder = written(tmp_path / "tiny", [*begun(), *steps(1, 4)])
    with terminal(str(folder), NO_COLOR="1", TERM="screen") as opened:
        painted = opened.read(HANG_SECONDS, until=b"quick")
        assert b"quick" in painted
        assert b"38;2;" not in painted
        opened.press("q")
        assert b"\x1b[?1049l" in opened.read(HANG_SECONDS, until=b"\x1b[?1049l")
        assert opened.ended(HANG_SECONDS) == 0


def test_a_terminal_that_goes_away_ends_the_console_even_where_nobody_tells_it(tmp_path: Path) -> None:
    folder = written(tmp_path / "tiny", [*begun(), *steps(1, 4)])
    with terminal(str(folder), hangs_on=True) as opened:
        opened.read(HANG_SECONDS, until=b"quick")
        opened.hang_up()
        assert opened.ended(HANG_SECONDS) == 129


def test_without_a_terminal_it_names_the_command_for_scripts(capsys: pytest.CaptureFixture[str]) -> None:
    from console.cli.main import main

    assert main(["console", "runs/x"]) == 2
    assert "status RUN --json" in capsys.readouterr().err
