"""Which progress a run shows: what was asked for, or what the stream can bear."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Literal, Protocol, TextIO, TypeAlias

from runtime.events import Envelope, RunState

Mode: TypeAlias = Literal["auto", "live", "plain", "json", "none"]
MODES: tuple[Mode, ...] = ("auto", "live", "plain", "json", "none")


class Progress(Protocol):
    """Shows a run. Neither method raises, whatever became of the stream; both may block on a stopped terminal, so
    call them from a thread where that matters."""

    def update(self, envelope: Envelope, state: RunState) -> None:
        """Show one fact; `state` is what all facts up to and with it add up to."""

    def close(self, state: RunState) -> None:
        """Leave the stream tidy: the last figures stand, and the next text begins on a line of its own."""


class Silent:
    """Shows nothing."""

    def update(self, envelope: Envelope, state: RunState) -> None:
        """Nothing."""

    def close(self, state: RunState) -> None:
        """Nothing."""


def choose(mode: Mode, talk: TextIO, results: TextIO, environment: Mapping[str, str] | None = None) -> Progress:
    """The progress for `mode`: talk goes to `talk` (stderr), JSON to `results` (stdout).

    auto: live where `talk` is a terminal that can move its cursor and nobody said CI, else plain.
    """
    environment = os.environ if environment is None else environment
    if mode == "none":
        return Silent()
    if mode == "json":
        from console.cli.progress.json_lines import JsonLines

        return JsonLines(results)
    if mode == "live" or (mode == "auto" and _can_be_live(talk, environment)):
        from console.cli.progress.live import Live

        return Live(talk, colour=not environment.get("NO_COLOR"))
    from console.cli.progress.plain import Plain

    return Plain(talk)


def _can_be_live(stream: TextIO, environment: Mapping[str, str]) -> bool:
    if environment.get("CI") or environment.get("TERM", "dumb") in {"", "dumb"}:
        return False
    try:
        return stream.isatty()
    except ValueError:  # a closed stream
        return False
