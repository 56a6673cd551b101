"""The checkpoints of a run as rows: what the journal says of each, and what the disk says. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from console.state.clock import day_and_time
from console.state.figures import clean, duration, size
from console.state.spans import EMPTY, Column, Line, Span, Tone, joined, line, table
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


def detail_lines(card: CheckpointCard | None, view: RunView, shelf: Shelf, run: str) -> list[Line]:
    """What is known of the chosen one, and the commands that go on from it."""
    if card is None:
        return []
    disk = shelf.disk.get(card.step)
    metrics = [line((f"{name} ", "dim"), f"{value:.4g}") for name, value in (disk.metrics if disk else {}).items()]
    lines = [
        line(("path     ", "dim"), clean(card.path), (f"  written in {duration(card.seconds)}", "dim")),
        line(("hash     ", "dim"), card.parameter_hash or "-"),
        line(("metrics  ", "dim"), *(joined(metrics, Span("  ")) or line("-"))),
    ]
    if card.reason:
        lines.append(line(("reason   ", "dim"), (clean(card.reason), "warn")))
    if card.state == "committed":
        lines.append(line(("resume   ", "dim"), (resume_command(card, view, run), "accent")))
    return lines


def resume_command(card: CheckpointCard, view: RunView, run: str) -> str:
    """What the user types to train on from this checkpoint."""
    begin = (view.run.command or f"mlx-distributed run {run}/config.toml").partition(" --resume ")[0]
    return f"{begin} --resume {run}/{card.path}"


def fork_command(card: CheckpointCard, view: RunView, run: str) -> str:
    """The same as another run, under another name."""
    name = f"{view.run.name or 'run'}-from-{card.step}"
    return f"{resume_command(card, view, run)} --set run.name={name}"


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


def _best(shelf: Shelf) -> int | None:
    losses = {
        step: value for step, disk in shelf.disk.items() for name, value in disk.metrics.items() if name in _LOSSES
    }
    return min(losses, key=lambda step: losses[step]) if len(losses) > 1 else None
