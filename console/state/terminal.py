"""What the terminal can show, from its environment. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeAlias

from console.state.figures import columns

ThemeName: TypeAlias = Literal["dark", "light", "ansi"]
THEMES: tuple[ThemeName, ...] = ("dark", "light", "ansi")
_LIGHT_BACKGROUNDS = {"7", "15"}
_FEW_COLORS = {"linux", "screen", "vt100", "vt220", "ansi", "xterm", "rxvt", "tmux", "cygwin"}
"""Values of TERM that promise 16 colours at most."""


class Terminal(NamedTuple):
    """How to draw."""

    theme: ThemeName = "dark"
    has_unicode: bool = True
    """Box drawing, blocks and braille; ASCII otherwise."""


def terminal_of(environment: Mapping[str, str], encoding: str) -> Terminal:
    """What these environment variables and the encoding of the output promise."""
    return Terminal(_theme(environment), encoding.lower().replace("-", "").startswith("utf"))


def _theme(environment: Mapping[str, str]) -> ThemeName:
    if "NO_COLOR" in environment:
        return "ansi"
    if environment.get("TERM", "") in _FEW_COLORS and not environment.get("COLORTERM"):
        return "ansi"
    background = environment.get("COLORFGBG", "").rpartition(";")[2]
    return "light" if background in _LIGHT_BACKGROUNDS else "dark"


_ASCII = str.maketrans(
    {
        "…": "~", "·": ".", "•": "*", "●": "o", "○": ".", "◆": "*", "▲": "!", "✗": "x", "✓": "+", "│": "|", "├": "|",
        "└": "`", "─": "-", "╭": "+", "╮": "+", "╰": "+", "╯": "+", "▾": "v", "▸": ">", "┃": "|", "━": "=",
        "▁": "_", "▂": "_", "▃": "-", "▄": "-", "▅": "=", "▆": "=", "▇": "#", "█": "#", "░": ".", "▒": ":", "▓": "#",
        "┬": "+", "‖": "=", "→": ">", "←": "<", "↑": "^", "↓": "v", "±": "~", "µ": "u", "↻": "@", "▏": "|", "▎": "|",
    }
)  # fmt: skip
_BRAILLE, _BRAILLE_END = 0x2800, 0x2900


def drawn(text: str, *, has_unicode: bool) -> str:
    """The text as the terminal can show it; without Unicode every letter becomes one of ASCII of the same width."""
    if has_unicode or text.isascii():
        return text
    return "".join(_as_ascii(character) for character in text.translate(_ASCII))


def _as_ascii(character: str) -> str:
    if character.isascii():
        return character
    code = ord(character)
    if _BRAILLE <= code < _BRAILLE_END:
        return " .:|#"[min(4, (code - _BRAILLE).bit_count())]
    return "?" * columns(character)
