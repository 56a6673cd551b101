"""Screen 1: is all well; if not, what is it, whom does it concern, and what helps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from textual import on
from textual.containers import Horizontal, Vertical

from console.client.picture import HeardCurve
from console.client.targets import Moment
from console.messages.intents import Act, Copy, Go, Say
from console.screens.base import BaseScreen
from console.state.alarms import alarm_rows, alarms_title
from console.state.devices import device_rows, host_lines
from console.state.pulse import pulse_lines
from console.state.spans import EMPTY, Line
from console.state.story import newest_first
from console.state.tree import budgets, detail_lines, is_open, tree_rows
from console.widgets.sheet import Row, Sheet
from runtime.view.cards import AlarmCard

_MOST_EVENTS = 200


class OverviewScreen(BaseScreen):
    """Alarms over the supervision tree and the workers, events below."""

    SCOPE: ClassVar[str] = "overview"
    AUTO_FOCUS: ClassVar[str] = "#tree"
    """Where the arrows do something that is seen."""

    def __init__(self) -> None:
        super().__init__()
        self._turned: set[str] = set()
        """Nodes of the tree that the user opened or closed."""

    def body(self) -> Iterable[Any]:
        """Five sheets."""
        yield Sheet("alarms", "Alarms")
        with Horizontal(id="middle"):
            with Vertical(id="left"):
                yield Sheet("tree", "Supervision")
                yield Sheet("node", "Chosen", cursor=False)
            with Vertical(id="right"):
                yield Sheet("workers", "Workers", cursor=False)
                yield Sheet("pulse", "Training", cursor=False)
        yield Sheet("events", "Events")

    def stamp(self) -> object:
        """Budgets grow again while nothing happens."""
        moment = self.seat.moment()
        return budgets(moment.view, moment.now_seconds) if moment is not None else None

    def draw(self, moment: Moment) -> None:
        """Fill them."""
        view, now = moment.view, moment.now_seconds
        alarms, tree, node = self._sheet("alarms"), self._sheet("tree"), self._sheet("node")
        alarms.titled(alarms_title(view))
        alarms.show([Row(*row) for row in alarm_rows(view, alarms.chosen)])
        tree.show([Row(*row) for row in tree_rows(view, now, tree.room, self._turned)])
        node.titled(tree.chosen.rpartition("/")[2] or "Chosen")
        node.show(detail_lines(view, tree.chosen, now, node.room))
        self._sheet("workers").show(self._workers(moment))
        pulse = self._sheet("pulse")
        curves = {name: means_of(curve) for name, curve in moment.picture.curves.items()}
        pulse.show(pulse_lines(view.run, curves, pulse.room, pulse.size.height))
        self._sheet("events").show([Row(*row) for row in newest_first(moment.picture.events, _MOST_EVENTS)])

    def _workers(self, moment: Moment) -> list[Row | Line]:
        sheet = self._sheet("workers")
        hosts = host_lines(moment.view, sheet.room)
        rows: list[Row | Line] = [Row(told) for told, _ in device_rows(moment.view, sheet.room)]
        room = sheet.size.height - len(rows)
        return [*rows, *([EMPTY] if room > len(hosts) else []), *hosts] if 0 < len(hosts) <= room else rows

    @on(Sheet.Moved, "#tree")
    @on(Sheet.Moved, "#alarms")
    def moved(self) -> None:
        """What is told of the chosen one is of another one now."""
        self.redraw()

    @on(Sheet.Chosen, "#tree")
    def turn(self, chosen: Sheet.Chosen) -> None:
        """Open or close a node."""
        self._turned ^= {chosen.key}
        self.redraw()

    @on(Sheet.Chosen, "#events")
    def to_logs(self, chosen: Sheet.Chosen) -> None:
        """A fact among the lines of that time."""
        self.post_message(Go("logs", seq=int(chosen.key)))

    def arrive(self, at: Mapping[str, Any]) -> None:
        """To the `node` of the tree; its parent is opened."""
        node = at["node"]
        tree = self._sheet("tree")
        if self.moment is not None and tree.place_of(node) is None:
            parent = self.moment.view.nodes[node].parent if node in self.moment.view.nodes else ""
            if parent in self.moment.view.nodes and not is_open(
                self.moment.view, self.moment.view.nodes[parent], self._turned
            ):
                self._turned ^= {parent}
                self.redraw()
        tree.choose(node)
        tree.focus()

    def do_logs(self) -> None:
        """What the chosen node says."""
        self.post_message(Go("logs", source=self._sheet("tree").chosen.rpartition("/")[2]))

    def do_copy_fix(self) -> None:
        """The command of the chosen alarm, or of the first."""
        card = self._chosen_alarm()
        if card is None or not card.command:
            self.post_message(Say("there is no alarm with a command", is_bad=True))
        else:
            self.post_message(Copy(card.command, "the fix"))

    def do_restart(self) -> None:
        """The chosen node of the tree."""
        self._act_on_node("restart")

    def do_kill(self) -> None:
        """The chosen node of the tree."""
        self._act_on_node("kill")

    def do_remove_worker(self) -> None:
        """The chosen node of the tree, which must be a worker."""
        name = self._sheet("tree").chosen.rpartition("/")[2]
        if name.startswith("worker-"):
            self.post_message(Act("remove_worker", name.removeprefix("worker-")))
        else:
            self.post_message(Say("choose a worker of the tree first", is_bad=True))

    def do_acknowledge(self) -> None:
        """The chosen alarm, or the first."""
        card = self._chosen_alarm()
        self.post_message(Act("acknowledge", card.key) if card else Say("there is no alarm to mark", is_bad=True))

    def _act_on_node(self, kind: str) -> None:
        path = self._sheet("tree").chosen
        self.post_message(Act(kind, path) if path else Say("choose an actor of the tree first", is_bad=True))

    def _chosen_alarm(self) -> AlarmCard | None:
        cards = self.moment.view.open_alarms if self.moment else ()
        chosen = self._sheet("alarms").chosen
        return next((card for card in cards if card.key == chosen), cards[0] if cards else None)

    def _sheet(self, name: str) -> Sheet:
        return self.query_one(f"#{name}", Sheet)


def means_of(curve: HeardCurve) -> list[float]:
    """The mean of each bucket, oldest first."""
    return [bucket.total / bucket.values for _, bucket in sorted(curve.buckets.items()) if bucket.values]
