"""By hand: `python -P -m tests.benchmarks.five_tasks [--json]`: five tasks for who has never seen the console.

Five tasks in a real terminal (tmux) of 100x30, beside real runs of the quickstart with a narrow model. Each is told
with the keys that it took, letters of typed words included, and the seconds from its beginning until the answer stands
on the screen; nobody thinks here, so the seconds are the console's and the run's alone.

    attach      from the folder in which a run goes on to its live overview
    straggler   one of two workers runs half of the time: which one, and what was done about it
    restart     a worker was killed from outside: which one, how it ended, and how often that may still happen
    plan        a configuration that needs more memory than there is becomes one that fits
    resume      a run that was stopped goes on from its newest checkpoint
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import tomli_w

from runtime.events import ShardsMoved, StepCommitted
from runtime.ids import Rank
from tests.benchmarks.straggler import throttled
from tests.support.by_keys import set_key, shell, stop
from tests.support.repository import ROOT
from tests.support.run_process import RunProcess, clean_up_when_terminated
from tests.support.tmux import PROGRAM, Tmux

GUARD_SECONDS = 300.0
NAME = "night"
SLOW = Rank(1)
TOO_MANY_ROWS = 1 << 15
DOWN_TO_THE_RUN = 6
"""Past four more presets and the configuration."""


@dataclass(frozen=True)
class Took:
    """One task."""

    task: str
    keys: int
    seconds: float


class Tally:
    """What the tasks took so far."""

    def __init__(self, terminal: Tmux) -> None:
        self.took: list[Took] = []
        self._terminal = terminal

    @contextmanager
    def task(self, name: str) -> Iterator[None]:
        """From here to the end of the block."""
        keys, began = self._terminal.pressed, time.monotonic()
        yield
        self.took.append(Took(name, self._terminal.pressed - keys, time.monotonic() - began))
        print(f"{name} ...", file=sys.stderr, flush=True)


def configuration(folder: Path, name: str, rows: int) -> Path:
    """The quickstart with a narrow model, without an end, and so many rows at once."""
    tables = tomllib.loads((ROOT / "configs" / "quickstart.toml").read_text())
    tables["model"]["scratch"]["hidden_size"] = 16
    tables["train"] |= {"steps": 1_000_000, "micro_batch_size": rows, "global_batch_size": max(32, 2 * rows)}
    tables["checkpoint"] = {"every": 20}
    for source in (*tables["data"]["source"], tables["data"]["eval"]):
        source["path"] = str(ROOT / "configs" / source["path"])
    path = folder / f"{name}.toml"
    path.write_text(tomli_w.dumps(tables))
    return path


def tasks(folder: Path) -> list[Took]:
    """All five, one after the other."""
    with shell(folder) as terminal:
        here, tally = folder / "here", Tally(terminal)
        config = configuration(here, NAME, rows=8)
        with RunProcess(config, here, name=NAME) as run:
            run.wait_for(StepCommitted, lambda event: event.step >= 40, within_seconds=GUARD_SECONDS)
            with tally.task("attach"):
                terminal.order("mlx-distributed console")
                terminal.sees("[3 Config]", f"runs/{NAME}")
                terminal.press(*["Down"] * DOWN_TO_THE_RUN)
                terminal.sees("Look at it: live where it runs")
                terminal.press("Enter")
                terminal.sees("[1 Overview]", "RUNNING", "LIVE", "worker-1")
            with throttled(run.worker_pids()[SLOW]):
                run.wait_for(ShardsMoved, within_seconds=GUARD_SECONDS)
                with tally.task("straggler"):
                    terminal.press("5", "/")
                    terminal.sees("Esc leaves")
                    terminal.type("by speed")
                    terminal.press("Enter")
                    terminal.sees("shards divided by speed", "100% of the fastest, worker", without="Esc leaves")
            terminal.press("1")
            os.kill(run.worker_pids()[SLOW], signal.SIGKILL)
            with tally.task("restart"):
                terminal.sees("1 restart")
                terminal.press("Down", "Down", "Down")
                terminal.sees("last end  error: killed by SIGKILL", "2/3 left")
            terminal.sees("workers 2/2")
            stop(terminal)
            with tally.task("resume"):
                terminal.press("4")
                terminal.sees("[4 Checkpoints]", "newest")
                terminal.press("r")
                terminal.sees("start it here")
                terminal.press("Enter")
                terminal.sees("[2 Run]", "RUNNING", "learning rate")
            terminal.press("1")
            terminal.sees("[1 Overview]", "worker-1", "LIVE")
            stop(terminal)
            terminal.press("C-q")
        large = configuration(here, "large", rows=TOO_MANY_ROWS)
        terminal.order(f"clear; mlx-distributed console {large.name}")
        terminal.sees("too much:")
        with tally.task("plan"):
            set_key(terminal, "global_batch_size", "32")
            set_key(terminal, "micro_batch_size", "8")
            terminal.sees("✓ fits")
        terminal.press("C-q")
        return tally.took


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    if PROGRAM is None:
        sys.exit("error: tmux is not installed")
    clean_up_when_terminated()
    with tempfile.TemporaryDirectory() as name:
        took = tasks(Path(name))
    if given.json:
        print(json.dumps([asdict(each) for each in took]))
    for each in () if given.json else took:
        print(f"{each.task:<12}{each.keys:4d} keys{each.seconds:8.1f} s")


if __name__ == "__main__":
    main()
