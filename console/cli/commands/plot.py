"""`mlx-distributed plot RUN`: its curves in the terminal, or a report as a page or an image; from the journal alone."""

from __future__ import annotations

import argparse
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.errors import RunFolderError, UsageError

if TYPE_CHECKING:
    from runtime.events import RunState

HELP = "the curves of a run in the terminal, or as a report: .html, .svg, .png"
RASTERISER = "rsvg-convert"
_SUFFIXES = (".html", ".svg", ".png")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The run, and where its report goes."""
    parser.add_argument("run", type=Path, metavar="RUN", help="a run's folder, e.g. runs/quickstart")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="write a report instead: .html (one file, no network), .svg, or .png (through rsvg-convert)",
    )


def run(args: argparse.Namespace) -> int:
    """Draw it. Raises UsageError for what is no run or no kind of file, RunFolderError for what cannot be written."""
    if args.output is not None and args.output.suffix not in _SUFFIXES:
        raise UsageError(f"--output {args.output}: the name must end with {', '.join(_SUFFIXES)}")
    state = state_of(args.run)
    if args.output is None:
        print("\n".join(terminal_lines(state, columns_of())))
        return 0
    content = report(state, args.run, args.output.suffix)
    try:
        args.output.write_bytes(content)
    except OSError as error:
        raise RunFolderError(f"{args.output} cannot be written: {error.strerror}") from error
    print(args.output)
    return 0


def state_of(folder: Path) -> RunState:
    """What the run's journal adds up to. Raises UsageError where there is none."""
    from runtime.events.replay import replay

    try:
        state, _ = replay(folder / "events.jsonl")
    except OSError as error:
        raise UsageError(f"{folder} is no run: events.jsonl cannot be read ({error.strerror})") from error
    return state


def terminal_lines(state: RunState, columns: int) -> list[str]:
    """The loss as a chart of letters; a sentence before there is one."""
    from console.cli.report import braille
    from console.cli.report.series import charts_of

    charts = charts_of(state)
    return braille.draw(charts[0], columns=columns) if charts else ["no step was committed yet"]


def columns_of() -> int:
    """How wide a chart may be here."""
    return max(40, min(110, shutil.get_terminal_size().columns))


def report(state: RunState, folder: Path, suffix: str) -> bytes:
    """The file's content by the end of its name. Raises UsageError where an image cannot be made here."""
    from console.cli.report import page, svg
    from console.cli.report.series import charts_of

    if suffix == ".html":
        config = folder / "config.toml"
        text = config.read_text(encoding="utf-8", errors="replace") if config.is_file() else ""
        return page.page_of(state, text, str(folder / "events.jsonl")).encode()
    title = state.plan.name if state.plan else folder.name
    image = svg.board(title, page.headline(state), charts_of(state)).encode()
    return image if suffix == ".svg" else rasterised(image)


def rasterised(image: bytes) -> bytes:
    """The SVG as PNG at twice its size. Raises UsageError where nothing here can draw it."""
    if shutil.which(RASTERISER) is None:
        raise UsageError(
            f"a .png is drawn by {RASTERISER}, which is not here: install librsvg2-bin (Debian) or librsvg (Homebrew), "
            "or write .svg or .html"
        )
    made = subprocess.run([RASTERISER, "--zoom", "2"], input=image, capture_output=True, check=False)
    if made.returncode:
        raise UsageError(f"{RASTERISER} failed: {made.stderr.decode(errors='replace').strip()}")
    return made.stdout
