"""What the Overview shows. Pure."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import islice

from console.state.figures import clean, duration
from console.state.notable import line_of, tone_of
from console.state.spans import Line, Tone, line
from runtime.events import Envelope, RunState
from runtime.view.cards import NodeCard, RunView

_NOTHING = RunState()
_STATUS: dict[str, tuple[str, Tone]] = {
    "ready": ("●", "good"), "starting": ("○", "accent"), "waiting": ("↻", "warn"), "exited": ("·", "dim"),
    "gave_up": ("✗", "bad"),
}  # fmt: skip


def clock(seconds: float) -> str:
    """Time of day, here."""
    return time.strftime("%H:%M:%S", time.localtime(seconds))


def alarm_rows(view: RunView, now_seconds: float) -> list[tuple[Line, str]]:
    """The alarms nobody has seen, worst first; one quiet line where there are none."""
    tones: dict[str, Tone] = {"critical": "bad", "warning": "warn", "info": "accent"}
    rows = [
        (
            line(
                (f"{card.level:<8} ", tones[card.level]),
                (f"{clock(card.since_seconds)} ", "dim"),
                f"{clean(card.subject)}: {clean(card.cause)}",
                (f"  fix: {clean(card.fix)}", "dim"),
            ),
            card.key,
        )
        for card in view.open_alarms
    ]
    return rows or [(line(("no alarms", "dim")), "")]


def tree_rows(view: RunView, now_seconds: float) -> list[tuple[Line, str]]:
    """The supervision tree, depth first."""
    return list(_branches(view, "", ""))


def roots_of(view: RunView) -> tuple[NodeCard, ...]:
    """The nodes above whom nobody is known."""
    return tuple(card for card in view.nodes.values() if card.parent not in view.nodes)


def _branches(view: RunView, parent: str, indent: str) -> Iterator[tuple[Line, str]]:
    children = view.children_of(parent) if parent else roots_of(view)
    for number, node in enumerate(children):
        last = number == len(children) - 1
        stem = indent + ("└ " if last else "├ ") if parent else ""
        yield _node(node, stem), node.path
        yield from _branches(view, node.path, indent + ("  " if last else "│ ") if parent else "")


def _node(node: NodeCard, stem: str) -> Line:
    sign, tone = _STATUS[node.status]
    restarts = f"  {node.restarts} restarts" if node.restarts else ""
    doing = f"  {node.phase} {node.step}" if node.phase else ""
    return line(
        (stem, "dim"),
        (f"{sign} ", tone),
        node.path.rpartition("/")[2],
        (f"  {node.status}{doing}", "dim"),
        (restarts, "warn"),
    )


def event_rows(events: Iterable[Envelope], most: int) -> list[tuple[Line, str]]:
    """The newest facts worth a line, newest first."""
    tones: dict[str, Tone] = {"good": "good", "bad": "warn", "plain": "plain"}
    said = ((envelope, line_of(envelope, _NOTHING)) for envelope in reversed(list(events)))
    return [
        (
            line((f"{clock(envelope.wall_seconds)}  ", "dim"), (text.splitlines()[0], tones[tone_of(envelope)])),
            str(envelope.seq),
        )
        for envelope, text in islice(((e, t) for e, t in said if t), most)
    ]


def age(then_seconds: float, now_seconds: float) -> str:
    """How long ago."""
    return duration(max(0.0, now_seconds - then_seconds))
