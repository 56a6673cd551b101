"""What needs mlx or the machinery of a run, asked of our own commands; and a run that lives on by itself."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from console.client.commands import PROGRAM, command

PLAN_SECONDS = 120.0
PREVIEW_SECONDS = 300.0


class Refused(Exception):
    """The command did not do it; its text is what it said, one or more lines."""


class Started(NamedTuple):
    """A run that lives on by itself."""

    process: subprocess.Popen[bytes]
    folder: Path
    log: Path
    told_bytes: int
    """Length of the run's journal when it was started."""


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


def start_run(config: Path, folder: Path, resume: str = "") -> Started:
    """`run CONFIG` in a session of its own, with its words in a file beside the run's folder. Raises OSError.

    It lives on when this process ends. The terminal's signals do not reach it.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    log, told = folder.parent / f"{folder.name}.log", _told_bytes(folder)
    words = ["run", str(config), "--progress", "plain", *(["--resume", resume] if resume else [])]
    with log.open("ab") as file:
        process = subprocess.Popen(
            [*PROGRAM, *words],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
            env={**os.environ, "NO_COLOR": "1"},
        )
    return Started(process, folder, log, told)


async def begun(started: Started, look_seconds: float = 0.1) -> None:
    """Wait until the run has said something in its journal. Raises Refused when it ends before."""
    while _told_bytes(started.folder) == started.told_bytes:
        if started.process.poll() is not None:
            said = started.log.read_text(errors="replace")
            raise Refused(last_words(said) or f"it ended with {started.process.returncode}")
        await asyncio.sleep(look_seconds)


def _told_bytes(folder: Path) -> int:
    try:
        return (folder / "events.jsonl").stat().st_size
    except OSError:
        return 0


def _sets(overrides: Sequence[str]) -> list[str]:
    return [word for override in overrides for word in ("--set", override)]
