"""`:`: every key of a screen by name, in Textual's command palette."""

from __future__ import annotations

from functools import partial
from typing import Any

from textual.command import DiscoveryHit, Hit, Hits, Provider

from console.screens.base import BaseScreen
from console.state.keymap import keys_of, of_tab
from console.state.tabs import TABS


class Commands(Provider):
    """The rows of the keymap that work on the screen below."""

    async def discover(self) -> Hits:
        """All of them, before anything is typed."""
        for label, text, call in self._commands():
            yield DiscoveryHit(label, call, help=text)

    async def search(self, query: str) -> Hits:
        """Those whose words are meant."""
        matcher = self.matcher(query)
        for label, text, call in self._commands():
            score = max(matcher.match(label), matcher.match(text) * 0.8)
            if score > 0:
                yield Hit(score, matcher.highlight(label), call, help=text)

    def _commands(self) -> list[tuple[str, str, Any]]:
        screen = self.screen
        if not isinstance(screen, BaseScreen):
            return []
        moment = screen.seat.moment()
        may_act = moment is not None and moment.target.may_act
        own = [key for key in keys_of(screen.SCOPE) if key.action != "palette" and (may_act or not key.acts)]
        found: list[tuple[str, str, Any]] = [
            (f"{key.label} ({key.shown})", key.help, partial(screen.action_press, key.action)) for key in own
        ]
        for tab in TABS:
            key = of_tab(tab)
            found.append((f"{tab.title} ({tab.key})", key.help, partial(self.app.switch_mode, tab.name)))
        return found
