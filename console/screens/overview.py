"""Screen 1: is all well, and if not, what is it, and what helps."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from console.client.targets import Moment
from console.messages.intents import Copy, Say
from console.screens.base import BaseScreen
from console.state.overview import alarm_rows, event_rows, tree_rows
from console.widgets.sheet import Row, Sheet


class OverviewScreen(BaseScreen):
    """Alarms, the supervision tree, the newest events."""

    SCOPE: ClassVar[str] = "overview"

    def body(self) -> Iterable[Any]:
        """Three sheets."""
        yield Sheet("alarms", "Alarms")
        yield Sheet("tree", "Supervision")
        yield Sheet("events", "Events", cursor=False)

    def draw(self, moment: Moment) -> None:
        """Fill them."""
        self.query_one("#alarms", Sheet).show([Row(*row) for row in alarm_rows(moment.view, moment.now_seconds)])
        self.query_one("#tree", Sheet).show([Row(*row) for row in tree_rows(moment.view, moment.now_seconds)])
        self.query_one("#events", Sheet).show([Row(*row) for row in event_rows(moment.picture.events, 200)])

    def do_copy_fix(self) -> None:
        """The command of the chosen alarm."""
        key = self.query_one("#alarms", Sheet).chosen
        card = self.moment.view.alarms.get(key) if self.moment else None
        if card is None or not card.command:
            self.post_message(Say("no alarm with a command is chosen", is_bad=True))
        else:
            self.post_message(Copy(card.command, "the fix"))
