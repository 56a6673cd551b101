"""The supervision tree as a picture: values for the console, text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from runtime.ids import ActorPath

NodeState: TypeAlias = Literal["waiting", "starting", "running", "restarting", "stopping", "stopped", "ended"]
"""waiting: for an earlier sibling's first start; restarting: down until its backoff is over; stopped: by a person."""


@dataclass(frozen=True)
class NodeView:
    """One actor of the tree, and below it what it supervises."""

    path: ActorPath
    state: NodeState
    incarnation: int
    since: float
    """When it entered this state, on the runtime's clock (`trio.current_time`)."""
    detail: str = ""
    """How its last incarnation ended, if one did."""
    progress: int | None = None
    """The last number that it gave to `Context.progress`."""
    restarts_left: int | None = None
    """For a supervisor: failures that may still come before it gives up."""
    children: tuple[NodeView, ...] = ()

    @property
    def name(self) -> str:
        """Last part of the path."""
        return self.path.rsplit("/", 1)[-1]

    def walk(self) -> Iterator[NodeView]:
        """This node and all below it, parents first, in start order."""
        yield self
        for child in self.children:
            yield from child.walk()


def draw(root: NodeView) -> str:
    """The tree as lines of text: name, state, incarnation when above 1, and how the last one ended when it is down."""
    return "\n".join(_lines(root, "", ""))


def _lines(node: NodeView, first: str, rest: str) -> Iterator[str]:
    yield first + _label(node)
    for index, child in enumerate(node.children):
        last = index == len(node.children) - 1
        yield from _lines(child, rest + ("└─ " if last else "├─ "), rest + ("   " if last else "│  "))


def _label(node: NodeView) -> str:
    words = [node.name, node.state]
    if node.incarnation > 1:
        words.append(f"#{node.incarnation}")
    if node.restarts_left is not None:
        words.append(f"({node.restarts_left} restarts left)")
    if node.detail and node.state not in ("running", "starting"):
        words.append(f"- {node.detail}")
    return " ".join(words)
