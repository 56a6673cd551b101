"""Lines that change a little each second: charts. Repaints only the columns that changed, line by line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from textual import events
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip

from console.state.spans import EMPTY, Line, padded
from console.widgets.drawn import Drawn

_GAP = 8
"""Equal columns between two changed parts that are cheaper to paint again than to jump over."""


class Chart(Drawn, can_focus=False):
    """Shows lines from its upper left corner, without a border and without scrolling."""

    DEFAULT_CSS = "Chart { width: 1fr; height: 1fr; background: $background; }"

    class Pointed(Message):
        """A click at a column and a row of it."""

        def __init__(self, chart: Chart, column: int, row: int) -> None:
            super().__init__()
            self.chart, self.column, self.row = chart, column, row

        @property
        def control(self) -> Chart:
            """Which one."""
            return self.chart

    def __init__(self, name: str) -> None:
        super().__init__(id=name)
        self._lines: list[Line] = []

    @property
    def lines(self) -> Sequence[Line]:
        """What is shown."""
        return self._lines

    def show(self, lines: Sequence[Line]) -> None:
        """Draw these lines instead; nothing is painted where they are the same."""
        old, self._lines = self._lines, list(lines)
        width = self.size.width
        for y in range(min(self.size.height, max(len(old), len(lines)))):
            before = old[y] if y < len(old) else EMPTY
            after = lines[y] if y < len(lines) else EMPTY
            if before != after:
                for start, end in changed_parts(padded(before, width), padded(after, width)):
                    self.refresh(Region(start, y, end - start, 1))

    def render_line(self, y: int) -> Strip:
        """Textual asks for one line."""
        width = self.size.width
        return self.strip_of(self._lines[y], width) if y < len(self._lines) else self.blank(width)

    def on_click(self, event: events.Click) -> None:
        """Say where it was."""
        self.post_message(self.Pointed(self, event.x, event.y))


def changed_parts(old: Line, new: Line) -> Iterator[tuple[int, int]]:
    """From which column to which (past the last) two lines of one width differ; letters are one column wide here."""
    before = [(letter, span.tone) for span in old for letter in span.text]
    after = [(letter, span.tone) for span in new for letter in span.text]
    if len(before) != len(after):  # a wide letter came or went: all of it
        yield 0, max(len(before), len(after)) * 2
        return
    start = end = -1
    for place, pair in enumerate(zip(before, after, strict=True)):
        if pair[0] == pair[1]:
            continue
        if start >= 0 and place - end > _GAP:
            yield start, end
            start = place
        start, end = (place if start < 0 else start), place + 1
    if start >= 0:
        yield start, end
