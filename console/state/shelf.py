"""The checkpoints of a run as rows: what the journal says of each, and what the disk says. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from textwrap import wrap
from typing import Any

from console.state.clock import day_and_time
from console.state.figures import clean, duration, size
from console.state.spans import EMPTY, Column, Line, Span, Tone, joined, line, table, width_of
from runtime.view.cards import CheckpointCard, RunView

_STATES: dict[str, tuple[str, Tone]] = {
    "committed": ("✓ committed", "good"), "writing": ("○ writing", "accent"), "failed": ("✗ failed", "bad"),
    "rejected": ("✗ rejected", "bad"),
}  # fmt: skip
_LOSSES = ("eval/loss", "loss")
_HEADS = (
    Column("step", is_right=True),
    Column("saved", weight=2),
    Column("size", is_right=True),
    Column("held-out loss", is_right=True, weight=4),
    Column("state"),
    Column("bytes", weight=3),
    Column("hash", most=13, weight=5),
    Column("notes"),
)


_LABEL = 9
"""Columns before what is known of the chosen one."""


@dataclass(frozen=True)
class OnDisk:
    """What `checkpoints list --json` says of one."""

    step: int
    path: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    pinned: bool = False
    created_at: float = 0.0
    error: str = ""


@dataclass(frozen=True)
class Shelf:
    """What was found out beside the journal."""

    disk: Mapping[int, OnDisk] = field(default_factory=dict)
    """By step."""
    verified: Mapping[int, str] = field(default_factory=dict)
    """By step: empty where every byte is right, else what is wrong."""


def on_disk(text: str) -> dict[int, OnDisk]:
    """The answer of `checkpoints list --json`. Raises ValueError for another text."""
    return {each.step: each for each in map(_one, json.loads(text)) if each.step >= 0}


def verified_of(text: str) -> dict[int, str]:
    """The answer of `checkpoints verify --json`. Raises ValueError for another text."""
    found = {}
    for each in json.loads(text):
        found[int(each["step"] or 0)] = "" if each.get("ok") else str(each.get("error", "broken"))
    return found


def _one(facts: Mapping[str, Any]) -> OnDisk:
    step = facts.get("step")
    metrics = {name: float(value) for name, value in facts.get("metrics", {}).items()}
    return OnDisk(
        -1 if step is None else int(step),
        str(facts.get("path", "")),
        metrics,
        bool(facts.get("pinned")),
        float(facts.get("created_at", 0.0)),
        str(facts.get("error", "")),
    )


def shelf_rows(view: RunView, shelf: Shelf, width: int) -> list[tuple[Line, str]]:
    """The title and a row a checkpoint, the newest first."""
    cards = sorted(view.checkpoints.values(), key=lambda card: card.step, reverse=True)
    if not cards:
        return [(line(("no checkpoint yet", "dim")), "")]
    newest = max((card.step for card in cards if card.state == "committed"), default=-1)
    best = _best(shelf)
    cells = [_cells(card, shelf, is_newest=card.step == newest, is_best=card.step == best) for card in cards]
    lines = table(_HEADS, cells, width)
    return [(lines[0], ""), *((parts, card.path) for parts, card in zip(lines[1:], cards, strict=True))]


def detail_lines(card: CheckpointCard | None, shelf: Shelf, resume: str, width: int) -> list[Line]:
    """What is known of the chosen one, and `resume`: what is typed to go on from it, whole, over as many lines as it
    takes."""
    if card is None:
        return []
    room = max(20, width - _LABEL)
    disk = shelf.disk.get(card.step)
    metrics = [line((f"{name} ", "dim"), f"{value:.4g}") for name, value in (disk.metrics if disk else {}).items()]
    lines = [
        line(("path     ", "dim"), clean(card.path), (f"  written in {duration(card.seconds)}", "dim")),
        line(("hash     ", "dim"), card.parameter_hash or "-"),
        *_rows_of(metrics, room),
    ]
    if card.reason:
        lines.append(line(("reason   ", "dim"), (clean(card.reason), "warn")))
    if card.state == "committed":
        for number, part in enumerate(wrap(resume, room, break_on_hyphens=False)):
            lines.append(line(("resume   " if number == 0 else " " * _LABEL, "dim"), (part, "accent")))
    return lines


def resume_command(card: CheckpointCard, view: RunView, run: str, *, name: str = "", is_far: bool = False) -> str:
    """What the user types where the folder `run` lies to train on from this checkpoint.

    `is_far`: nobody knows where the run's own command was typed, so that its resolved configuration is named. `name` is
    that of the run that begins; empty: the same name.
    """
    typed = view.run.command.partition(" --resume ")[0]
    if is_far or not typed:
        typed, name = f"mlx-distributed run {run}/config.toml", name or view.run.name
    return f"{typed} --resume {run}/{card.path}" + (f" --set run.name={name}" if name else "")


def fork_command(card: CheckpointCard, view: RunView, run: str, *, is_far: bool = False) -> str:
    """The same as another run, under another name."""
    name = f"{view.run.name or 'run'}-from-{card.step}"
    return resume_command(card, view, run, name=name, is_far=is_far)


def begin_choices(card: CheckpointCard, run: str, *, is_live: bool) -> list[tuple[str, str]]:
    """What can be done with the command that goes on from a checkpoint: key and words of each."""
    beside = f"; {run} goes on beside it" if is_live else f"; nothing in {run} changes"
    return [
        ("start", f"start it here, as a run of its own{beside}"),
        ("copy", "copy the command"),
        ("", "not yet"),
    ]


def _cells(card: CheckpointCard, shelf: Shelf, *, is_newest: bool, is_best: bool) -> list[Line]:
    disk, words = shelf.disk.get(card.step), _STATES[card.state]
    loss = next((value for name, value in (disk.metrics if disk else {}).items() if name in _LOSSES), None)
    notes: list[tuple[str, Tone]] = []
    if is_newest:
        notes.append(("newest", "accent"))
    if is_best:
        notes.append(("best", "good"))
    if disk is not None and disk.pinned:
        notes.append(("pinned", "strong"))
    wrong = shelf.verified.get(card.step)
    proof = EMPTY if wrong is None else line(("✓ whole", "good")) if not wrong else line(("✗ broken", "bad"))
    return [
        line((str(card.step), "strong")),
        line((day_and_time(card.said_seconds or (disk.created_at if disk else 0.0)), "dim")),
        line(size(card.size_bytes)) if card.size_bytes else EMPTY,
        line(f"{loss:.4f}") if loss is not None else EMPTY,
        line(words),
        proof,
        line((card.parameter_hash, "dim")),
        joined([line(note) for note in notes], Span(" ")),
    ]


def _rows_of(metrics: list[Line], room: int) -> list[Line]:
    """Metrics side by side, as many as fit into a line."""
    rows: list[list[Line]] = [[]]
    for metric in metrics:
        if rows[-1] and width_of(joined([*rows[-1], metric], Span("  "))) > room:
            rows.append([])
        rows[-1].append(metric)
    return [
        (*line(("metrics  " if number == 0 else " " * _LABEL, "dim")), *(joined(row, Span("  ")) or line("-")))
        for number, row in enumerate(rows)
    ]


def _best(shelf: Shelf) -> int | None:
    losses = {
        step: value for step, disk in shelf.disk.items() for name, value in disk.metrics.items() if name in _LOSSES
    }
    return min(losses, key=lambda step: losses[step]) if len(losses) > 1 else None
