"""The supervision tree as rows: who lives, what he does, and how many failures his supervisor still forgives. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import NamedTuple

from console.state.figures import clean, columns, duration, some
from console.state.spans import EMPTY, Line, Tone, between, cut, line, padded, width_of
from runtime.ids import rank_of
from runtime.view.cards import NodeCard, RunView

QUIET_SECONDS = 3.0
"""A sign of life older than this is told."""
_SIGNS: dict[str, tuple[str, Tone]] = {
    "ready": ("●", "good"), "starting": ("○", "accent"), "waiting": ("↻", "warn"), "exited": ("·", "dim"),
    "gave_up": ("✗", "bad"),
}  # fmt: skip
_WORDS = {"starting": ("starting",), "waiting": ("waits to restart", "waits"), "gave_up": ("gave up",)}
_STRATEGIES = {"one_for_one": "one for one", "one_for_all": "one for all", "rest_for_one": "rest for one"}
_TIME = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:[,.]\d+)? (?:INFO \S+: )?")
"""Of a log line: its message is what there is room for."""
_MOST_NAME = 26


class _Branch(NamedTuple):
    node: NodeCard
    stem: str
    hidden: int
    """Nodes below it that are not shown."""


def roots_of(view: RunView) -> tuple[NodeCard, ...]:
    """The nodes above whom nobody is known."""
    return tuple(card for card in view.nodes.values() if card.parent not in view.nodes)


def tree_rows(view: RunView, now_seconds: float, width: int, turned: Collection[str] = ()) -> list[tuple[Line, str]]:
    """One row a node, depth first. A worker whose parts are all well is closed; `turned` has those that the user has
    opened or closed against that rule."""
    branches = list(_branches(view, roots_of(view), "", turned))
    widest = max((columns(branch.stem) + columns(_name(branch)) + 2 for branch in branches), default=0)
    name_width = min(_MOST_NAME, widest) + 2
    return [(_row(branch, view, now_seconds, name_width, width), branch.node.path) for branch in branches]


def budget_left(node: NodeCard, now_seconds: float) -> int | None:
    """How many failures of its children it still forgives now; None for what is no supervisor."""
    if node.budget is None:
        return None
    return max(0, node.budget - sum(when > now_seconds - node.period_seconds for when in node.failures))


def budgets(view: RunView, now_seconds: float) -> tuple[int | None, ...]:
    """Of every node: they grow again as time goes by, although nothing else happens."""
    return tuple(budget_left(node, now_seconds) for node in view.nodes.values() if node.failures)


def detail_lines(view: RunView, path: str, now_seconds: float, width: int) -> list[Line]:
    """What is known of the chosen node: process, life, last end and last words."""
    node = view.nodes.get(path)
    if node is None:
        return []
    facts = [node.host, node.device, f"pid {node.pid}" if node.pid else "", f"start {node.incarnation}"]
    if node.beat_seconds:
        facts.append(f"beat {duration(max(0.0, now_seconds - node.beat_seconds))} ago")
    lines = [line(clean(" · ".join(part for part in facts if part)))]
    left = budget_left(node, now_seconds)
    if left is not None:
        lines.append(
            line(
                ("forgives  ", "dim"),
                f"{left} of {node.budget} failures",
                (f" within {duration(node.period_seconds)}", "dim"),
            )
        )
    if node.reason and not _is_over(node):
        lines.append(line(("last end  ", "dim"), clean(node.reason)))
    if node.tail:
        lines.append(line(("it said   ", "dim"), clean(_TIME.sub("", node.tail.strip().splitlines()[-1]))))
    return [cut(each, width) for each in lines]


def _branches(view: RunView, nodes: tuple[NodeCard, ...], indent: str, turned: Collection[str]) -> Iterator[_Branch]:
    ordered = sorted(nodes, key=lambda node: 0 if view.children_of(node.path) else 1 if node.pid else 2)
    is_root = not indent and all(node.parent not in view.nodes for node in nodes)
    for number, node in enumerate(ordered):
        last = number == len(ordered) - 1
        stem = "" if is_root else indent + ("└ " if last else "├ ")
        below = view.children_of(node.path)
        shown = below and is_open(view, node, turned)
        yield _Branch(node, stem, 0 if shown else len(below))
        if shown:
            yield from _branches(view, below, "" if is_root else indent + ("  " if last else "│ "), turned)


def is_open(view: RunView, node: NodeCard, turned: Collection[str]) -> bool:
    """Whether the parts of a node are shown."""
    parts = view.children_of(node.path)
    usual = rank_of(node.path) is None or (node.status == "ready" and any(part.status != "ready" for part in parts))
    return usual != (node.path in turned)


def _name(branch: _Branch) -> str:
    name = branch.node.path.rpartition("/")[2]
    return f"{name} +{branch.hidden}" if branch.hidden else name


def _row(branch: _Branch, view: RunView, now_seconds: float, name_width: int, width: int) -> Line:
    node = branch.node
    sign, tone = _SIGNS.get(node.status, ("?", "dim"))
    name = node.path.rpartition("/")[2]
    more = f" +{branch.hidden}" if branch.hidden else ""
    plain: Tone = "dim" if node.status == "exited" else "strong" if rank_of(node.path) is not None else "plain"
    left = padded(line((branch.stem, "dim"), (f"{sign} ", tone), (clean(name), plain), (more, "dim")), name_width)
    right = _right(node, now_seconds)
    return between((*left, *_fitting(_doing(node, now_seconds), width - name_width - width_of(right))), right, width)


def _fitting(ways: tuple[Line, ...], width: int) -> Line:
    """The first way to say it that fits; the last one is cut."""
    return next((way for way in ways if width_of(way) <= width), cut(ways[-1], width))


def _doing(node: NodeCard, now_seconds: float) -> tuple[Line, ...]:
    """What it does, in as many words as there may be room for, the longest way first."""
    if _is_over(node):
        return (line(("ended", "dim")),)
    if node.status == "exited":
        return (line((f"ended: {clean(node.reason)}", "warn")),)
    if node.status in _WORDS:
        tone = _SIGNS[node.status][1]
        return tuple(line((words, tone)) for words in _WORDS[node.status])
    quiet = now_seconds - node.beat_seconds if node.beat_seconds else 0.0
    if quiet > QUIET_SECONDS:
        still = line((f"quiet {duration(float(int(quiet)))}", "warn"))
        return line((f"{node.phase} {node.step}  ", "plain"), *still), still
    if node.phase:
        return line(node.phase, (f" {node.step}", "dim")), line(node.phase), EMPTY
    return line((_STRATEGIES.get(node.strategy, node.strategy), "dim")), EMPTY


def _right(node: NodeCard, now_seconds: float) -> Line:
    left = budget_left(node, now_seconds)
    if left is not None and node.status != "exited":
        tone: Tone = "dim" if left == node.budget else "bad" if left <= 1 else "warn"
        return line((f"  {left}/{node.budget} left", tone))
    return line((f"  {some(node.restarts, 'restart')}", "warn")) if node.restarts else EMPTY


def _is_over(node: NodeCard) -> bool:
    return node.status == "exited" and node.reason.startswith("normal")
