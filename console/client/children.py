"""What needs mlx or the machinery of a run, asked of our own commands; and a run that lives on by itself."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from console.client.commands import PROGRAM, command

PLAN_SECONDS = 120.0
PREVIEW_SECONDS = 300.0
JOURNAL_NAME = "events.jsonl"
OWNER_NAME = "run.pid"
"""In a run's folder: JSON that names the process which drives it; empty once it has let go."""


class Refused(Exception):
    """The command did not do it; its text is what it said, one or more lines."""


class Started(NamedTuple):
    """A run that lives on by itself."""

    process: subprocess.Popen[bytes]
    runs: Path
    """Its folder will be one of this folder's; which one, the run decides: `name`, `name-2`, ..."""
    log: Path
    told_bytes: Mapping[Path, int]
    """Lengths of the journals that were there when it was started."""


async def plan(config: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """What `plan CONFIG --json` answers. Raises Refused."""
    return await answer(["plan", str(config), "--json", *_sets(overrides)], PLAN_SECONDS)


async def preview(config: Path, overrides: Sequence[str], samples: int) -> dict[str, Any]:
    """What `data preview CONFIG --json` answers. Raises Refused."""
    words = ["data", "preview", str(config), "--json", "--samples", str(samples), *_sets(overrides)]
    return await answer(words, PREVIEW_SECONDS)


async def answer(words: Sequence[str], within_seconds: float) -> dict[str, Any]:
    """The JSON object that a command of ours prints. The child ends with the caller's task. Raises Refused."""
    done = await command(*words, within_seconds=within_seconds)
    if done.code:
        raise Refused(last_words(done.error) or f"it ended with {done.code}")
    document: dict[str, Any] = json.loads(done.out)
    return document


def last_words(said: str) -> str:
    """What a command said when it gave up: its `error:` line, else the last lines."""
    lines = [text for text in said.strip().splitlines() if text.strip()]
    error = next((place for place, text in enumerate(lines) if text.startswith("error: ")), None)
    told = lines[error:] if error is not None else lines[-3:]
    return "\n".join(told).removeprefix("error: ")


def start_run(config: Path, folder: Path) -> Started:
    """`run CONFIG`, whose folder is `folder` or the next number of that name. Raises OSError."""
    return start(["run", str(config)], folder)


def start(words: Sequence[str], folder: Path) -> Started:
    """A command that trains, in a session of its own, with its words in a file beside `folder`. Raises OSError.

    It lives on when this process ends. The terminal's signals do not reach it.
    """
    runs = folder.parent
    runs.mkdir(parents=True, exist_ok=True)
    log, told = runs / f"{folder.name}.log", _journals(runs)
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*PROGRAM, *words, "--progress", "plain"],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
            env={**os.environ, "NO_COLOR": "1"},
        )
    return Started(process, runs, log, told)


async def begun(started: Started, look_seconds: float = 0.1) -> Path:
    """The run's folder, once it has said something in its journal. Raises Refused when it ends before."""
    while True:
        code = started.process.poll()  # asked before the journals: what it said last must be seen
        grown = [
            folder
            for folder, told in _journals(started.runs).items()
            if told > started.told_bytes.get(folder, 0) and (code is not None or _is_driven_by(folder, started))
        ]
        if grown and not code:
            return max(grown, key=lambda folder: (folder / JOURNAL_NAME).stat().st_mtime)
        if code is not None:
            said = started.log.read_text(errors="replace")
            raise Refused(last_words(said) or f"it ended with {code}")
        await asyncio.sleep(look_seconds)


def _is_driven_by(folder: Path, started: Started) -> bool:
    try:
        owner: dict[str, Any] = json.loads((folder / OWNER_NAME).read_bytes())
    except (OSError, ValueError):  # no file, or half a text
        return False
    return owner.get("pid") == started.process.pid


def _journals(runs: Path) -> dict[Path, int]:
    """The length of each run's journal."""
    return {path.parent: path.stat().st_size for path in runs.glob(f"*/{JOURNAL_NAME}")}


def _sets(overrides: Sequence[str]) -> list[str]:
    return [word for override in overrides for word in ("--set", override)]
