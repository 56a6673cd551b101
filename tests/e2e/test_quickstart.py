"""The first command that a newcomer types, from the README, with a few steps of it."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.support.repository import ROOT
from tests.support.run_process import COMMAND

pytestmark = pytest.mark.slow
GUARD_SECONDS = 500.0


def the_readmes_command() -> list[str]:
    """What the README runs in the environment that `uv run` makes: here it is there already."""
    (command,) = re.findall(r"\buv run (mlx-distributed run \S+)$", (ROOT / "README.md").read_text(), re.MULTILINE)
    return shlex.split(command)


def test_the_quickstart_trains_and_shows_answers_before_and_after(tmp_path: Path) -> None:
    _, *words = the_readmes_command()
    fewer = (
        "train.epochs=0.0",
        "train.steps=3",
        "optim.warmup_steps=1",
        "eval.max_batches=2",
        f"run.output_dir={tmp_path / 'runs'}",
    )
    said = subprocess.run(
        [COMMAND, *words, "--progress", "plain", *(part for one in fewer for part in ("--set", one))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=GUARD_SECONDS,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    assert "done at step 3" in said.stdout
    assert "held-out loss" in said.stdout
    assert re.search(r"prompt +expected +before +after", said.stdout)
    assert (tmp_path / "runs" / "quickstart" / "checkpoints" / "step-00000003" / "manifest.json").is_file()
