"""What a terminal shows: the letters that are left after all that a program has written, without their colours."""

from __future__ import annotations

import re
from codecs import getincrementaldecoder

_PIECE = re.compile(
    r"\x1b\[(?P<words>[0-9;?<>=$ ]*)(?P<order>[@-~])"
    r"|\x1b[\]P_^X].*?(?:\x07|\x1b\\)"
    r"|\x1b[()].|\x1b[^\[\]P_^X()]"
    r"|(?P<text>[^\x00-\x1f\x7f]+)|(?P<control>[\x00-\x1a\x1c-\x1f\x7f])",
    re.DOTALL,
)
_REST = re.compile(r"\x1b[^\x1b]*\Z")


class Letters:
    """A screen of `size` (columns, rows), as far as Textual uses one: places, letters, and what clears them."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._decode = getincrementaldecoder("utf-8")(errors="replace").decode
        self._rest = ""
        self.resize(size)

    @property
    def lines(self) -> list[str]:
        """From top to bottom, without the blanks at their ends."""
        return ["".join(row).rstrip() for row in self._rows]

    def resize(self, size: tuple[int, int]) -> None:
        """Another size; what was shown is gone."""
        self.columns, self.rows = size
        self._rows = [[" "] * self.columns for _ in range(self.rows)]
        self._x = self._y = 0

    def feed(self, data: bytes) -> None:
        """What the program has written; an order may be cut anywhere."""
        text = self._rest + self._decode(data)
        end = 0
        for piece in _PIECE.finditer(text):
            end = piece.end()
            if piece["text"]:
                self._write(piece["text"])
            elif piece["control"]:
                self._control(piece["control"])
            elif piece["order"]:
                self._order(piece["words"], piece["order"])
        cut = _REST.search(text)
        self._rest = text[cut.start() :] if cut and cut.start() >= end else ""

    def _write(self, text: str) -> None:
        for letter in text:
            if self._x < self.columns and self._y < self.rows:
                self._rows[self._y][self._x] = letter
            self._x += 1

    def _control(self, letter: str) -> None:
        if letter == "\r":
            self._x = 0
        elif letter == "\n":
            self._y = min(self.rows - 1, self._y + 1)

    def _order(self, words: str, order: str) -> None:
        if order == "H":
            row, column = (int(word or 1) for word in (words or "1;1").split(";"))
            self._y, self._x = row - 1, column - 1
        elif (order == "J" and words in {"", "0", "2"}) or (order == "h" and words == "?1049"):
            self.resize((self.columns, self.rows))
