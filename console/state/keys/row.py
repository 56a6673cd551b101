"""A row of the table of keys."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Key:
    """What a key does on a screen."""

    keys: str
    """As Textual names them, the main one first: `r`, `ctrl+s`, `question_mark`, `q,ctrl+q`."""
    action: str
    """Name of the action: `do_<action>` of the screen, or of the app for those of every screen."""
    label: str
    """One or two words, for the footer."""
    help: str
    """One line, for `?` and the palette."""
    priority: int = 0
    """Place in the footer, from 1; 0: it is not there."""
    acts: bool = False
    """It changes something outside the console: unbound where the console may only look."""

    @property
    def shown(self) -> str:
        """The main key as a person writes it: `r`, `^s`, `?`, `Enter`."""
        return _shown(self.keys.partition(",")[0])

    @property
    def all_shown(self) -> str:
        """All of them: `q ^q`."""
        return " ".join(_shown(key) for key in self.keys.split(","))


_NAMES = {
    "question_mark": "?", "colon": ":", "slash": "/", "plus": "+", "minus": "-", "enter": "Enter", "escape": "Esc",
    "space": "Space", "tab": "Tab", "shift+tab": "S-Tab", "up": "↑", "down": "↓", "left": "←", "right": "→",
    "delete": "Del", "home": "Home", "end": "End", "pageup": "PgUp", "pagedown": "PgDn",
    "left_square_bracket": "[", "right_square_bracket": "]", "exclamation_mark": "!", "less_than_sign": "<",
    "greater_than_sign": ">", "right_parenthesis": ")", "left_parenthesis": "(",
    "shift+right": "S-→", "shift+left": "S-←",
    "f1": "F1", "equals_sign": "=", "full_stop": ".", "comma": ",",
}  # fmt: skip


def _shown(key: str) -> str:
    if key.startswith("ctrl+"):
        return "^" + key.removeprefix("ctrl+")
    return _NAMES.get(key, key)
