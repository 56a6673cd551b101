"""The supervisor as an actor: a thin trio shell around the pure core, so that trees nest.

    root = Supervisor(SupervisorSpec((ChildSpec("journal", journal), ChildSpec("node", Supervisor(workers)))))
    await supervise(root, path="run", emit=bus.publish)

An outer cancel, or `stopping`, is an ordered stop: children end one at a time, in reverse, each with its own grace.
"""

from __future__ import annotations

import random as random_module
from collections.abc import Callable
from typing import Any

import trio

from runtime.actors.actor import Context
from runtime.actors.exit import Exit
from runtime.actors.ref import Address, Ref
from runtime.errors import ActorDown, GaveUp
from runtime.ids import ActorPath, child_path
from runtime.supervision.core import Child, Phase
from runtime.supervision.life import Life
from runtime.supervision.messages import AddChild, RestartChild, StopAll, StopChild, Suspect
from runtime.supervision.spec import ChildSpec, Restart, SupervisorSpec
from runtime.supervision.tree import NodeState, NodeView

_STATES: dict[Phase, NodeState] = {
    Phase.STARTING: "starting",
    Phase.RUNNING: "running",
    Phase.STOPPING: "stopping",
    Phase.GONE: "ended",
}


class Supervisor:
    """An actor body that supervises, and the handle to it. Usable as `ChildSpec.start`; one life at a time.

    It is ready when every child of its spec has been ready once. It returns after an ordered stop or when its work
    is done, and raises GaveUp (culprit's path and output inside) when its policy says so or a child cannot start.
    """

    def __init__(self, spec: SupervisorSpec, *, random: Callable[[], float] = random_module.random) -> None:
        self.spec = spec
        self._random = random
        self._life: Life | None = None
        self._addresses: dict[str, Address[Any]] = {}
        self._incarnations: dict[str, int] = {}

    @property
    def stop_budget_seconds(self) -> float:
        """Longest ordered stop; a parent supervisor grants at least this."""
        return self.spec.stop_budget_seconds

    @property
    def start_budget_seconds(self) -> float:
        """Longest first start; a parent supervisor grants at least this."""
        return self.spec.start_budget_seconds

    async def __call__(self, ctx: Context[Any]) -> None:
        """One life of this supervisor; see the class."""
        if self._life is not None:
            raise RuntimeError(f"{ctx.path}: this supervisor already runs as {self._life.ctx.path}")
        life = self._life = Life(self.spec, ctx, self._random, self._address, self._incarnations)
        try:
            await life.run()
        finally:
            self._life, self._incarnations = None, life.core.incarnations()

    def ref(self, name: str) -> Ref[Any]:
        """The child's Ref; valid before it runs and over its restarts. Typed ones come from `ChildSpec.address`."""
        spec = next((child for child in self.spec.children if child.id == name), None)
        path = child_path(self._life.ctx.path, name) if self._life else ActorPath(name)
        if spec is not None:
            return self._address(spec, path).ref
        if name not in self._addresses:
            raise KeyError(f"no child is called {name!r}")
        return self._addresses[name].ref

    async def add(self, child: ChildSpec) -> None:
        """Add a last child and return when it is ready; raises GaveUp with its output when it cannot start."""
        life = self._running()
        known = life.core.children.get(child.id)
        if known is not None and known.is_live:
            raise ValueError(f"{life.ctx.path} already has a child {child.id!r}; stop or remove it first")
        life.post(AddChild(child))
        await life.until(lambda: _came_up(life, child.id, known) is not None)
        added = _came_up(life, child.id, known)
        if added is None or added.phase is not Phase.RUNNING:
            end = added.exit if added and added.exit else Exit.killed("stopped before it was ready")
            path = child_path(life.ctx.path, child.id)
            raise GaveUp(f"{path} could not start: {end.detail}", path=path, tail=end.tail)

    async def stop(self, name: str) -> None:
        """Stop the child, return when it is down; it stays stopped until `restart`. KeyError when there is none."""
        await self._down(name, forget=False)

    async def remove(self, name: str) -> None:
        """Stop the child and forget it; return when it is down. KeyError when there is none."""
        await self._down(name, forget=True)

    async def restart(self, name: str) -> None:
        """Start the child anew, at no cost to the restart limit; return when the new incarnation is ready.

        Raises KeyError when there is none, ValueError for a temporary child, ActorDown when the supervisor ends.
        """
        life = self._running()
        child = life.core.children[name]
        if child.spec.restart is Restart.TEMPORARY:
            raise ValueError(f"{life.ctx.path}/{name} is temporary: it is never restarted")
        old = child.incarnation
        life.post(RestartChild(name))
        await life.until(lambda: child.incarnation > old and child.phase is Phase.RUNNING)
        if not (child.incarnation > old and child.phase is Phase.RUNNING):
            raise ActorDown(f"{life.ctx.path} ended before {name} was up again")

    def suspect(self, name: str, incarnation: int, why: str) -> None:
        """Kill this incarnation at once and count it as a failure: a detector found it hung. Stale calls do nothing."""
        self._running().post(Suspect(name, incarnation, why))

    def end(self, *, hurry: bool = False) -> None:
        """End in order, as if asked to stop; with `hurry` without any grace. Returns at once."""
        self._running().post(StopAll(hurry))

    def view(self) -> NodeView | None:
        """The tree as it is now; None when this supervisor does not run."""
        life = self._life
        if life is None:
            return None
        now = trio.current_time()
        state: NodeState = "stopping" if life.core.ending else "running" if life.core.settled else "starting"
        children = tuple(self._view_child(life, child) for child in life.core.in_order())
        return NodeView(
            life.ctx.path,
            state,
            life.ctx.incarnation,
            life.began_at,
            restarts_left=life.core.restarts_left(now),
            children=children,
        )

    def _view_child(self, life: Life, child: Child) -> NodeView:
        path = child_path(life.ctx.path, child.spec.id)
        state = _STATES.get(child.phase) or (
            "stopped" if not child.wanted else "restarting" if child.incarnation else "waiting"
        )
        detail = child.exit.detail if child.exit else ""
        below = child.spec.start.view() if isinstance(child.spec.start, Supervisor) else None
        return NodeView(
            path,
            state,
            child.incarnation,
            child.since,
            detail,
            life.progress.get(child.spec.id),
            below.restarts_left if below else None,
            below.children if below else (),
        )

    async def _down(self, name: str, *, forget: bool) -> None:
        life = self._running()
        child = life.core.children[name]
        life.post(StopChild(name, forget))
        await life.until(lambda: not child.is_live and not child.wanted)

    def _running(self) -> Life:
        if self._life is None:
            raise ActorDown("this supervisor does not run")
        return self._life

    def _address(self, spec: ChildSpec, path: ActorPath) -> Address[Any]:
        if spec.address is not None:
            self._addresses[spec.id] = spec.address
        return self._addresses.setdefault(spec.id, Address(path, spec.mailbox))


def _came_up(life: Life, name: str, before: Child | None) -> Child | None:
    """The added child once it is ready or was dropped; None while that is open."""
    child = life.core.children.get(name)
    if child is None or child is before or child.phase not in (Phase.RUNNING, Phase.GONE):
        return None
    return child


async def supervise(root: Supervisor, *, path: str, emit: Callable[[Any], None]) -> None:
    """Run a whole tree until its work is done; raises GaveUp when it cannot go on. A cancel is an ordered stop.

    `emit` gets every report and every event that actors publish; it must return at once and not raise.
    """
    await root(Context(path, emit=emit))
