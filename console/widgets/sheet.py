"""A list of lines with, if wanted, a cursor and scrolling: panels, tables, trees and logs are all sheets.

What is shown is replaced as a whole as often as anybody likes: only the cells that differ are painted again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from console.state.figures import columns, harmless
from console.state.spans import EMPTY, Line, padded
from console.state.terminal import drawn
from console.widgets.drawn import Drawn


class Row(NamedTuple):
    """A line, and the name of what it tells; a row without a name (a title, a gap) is passed over by the cursor."""

    parts: Line
    key: str = ""


class Sheet(Drawn, ScrollView):
    """Shows rows. The cursor stays on its key when rows come and go."""

    DEFAULT_CSS = """
    Sheet { border: round $line; border-title-color: $tone-accent; border-subtitle-color: $tone-dim;
            background: $background; padding: 0 1; overflow-x: hidden; overflow-y: auto;
            scrollbar-size-vertical: 1; scrollbar-gutter: stable;
            scrollbar-color: $line; scrollbar-background: $background; }
    Sheet:focus { border: round $line-focus; border-title-style: bold; }
    Sheet.-plain { border: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home", "end(-1)", "First", show=False),
        Binding("end", "end(1)", "Last", show=False),
        Binding("enter", "choose", "Choose", show=False),
    ]
    chosen: reactive[str] = reactive("", init=False)
    """Key of the row under the cursor; empty without one."""

    class Moved(Message):
        """The cursor stands on another row."""

        def __init__(self, sheet: Sheet, key: str) -> None:
            super().__init__()
            self.sheet, self.key = sheet, key

        @property
        def control(self) -> Sheet:
            """Whose cursor."""
            return self.sheet

    class Chosen(Moved):
        """Enter or a click on the row under the cursor."""

    def __init__(self, name: str, title: str = "", *, cursor: bool = True) -> None:
        """`name` is its CSS id."""
        super().__init__(id=name)
        self._titles: tuple[Content, Content | None] | None = None
        self.titled(title)
        self.can_focus = cursor
        self._has_cursor = cursor
        self._rows: list[Row] = []

    @property
    def rows(self) -> Sequence[Row]:
        """What is shown."""
        return self._rows

    @property
    def room(self) -> int:
        """Columns for a line."""
        return self.scrollable_content_region.width or self.content_size.width

    def show(self, rows: Sequence[Row | Line]) -> None:
        """Draw these rows instead; nothing is painted where they are the same."""
        new = [row if isinstance(row, Row) else Row(row) for row in rows]
        before_place = self.place_of(self.chosen) if self.chosen else None
        old, self._rows = self._rows, new
        if len(new) != len(old):
            self.virtual_size = Size(self.size.width, len(new))
            if self.styles.is_auto_height:
                self.refresh(layout=True)
        self._keep_cursor()
        if before_place != (place := self.place_of(self.chosen) if self.chosen else None):
            self._paint(before_place)
            self._paint(place)
        top = self.scroll_offset.y
        for y in range(min(self.size.height, max(len(old), len(new)) - top)):
            before = old[top + y].parts if top + y < len(old) else EMPTY
            after = new[top + y].parts if top + y < len(new) else EMPTY
            changed = changed_columns(padded(before, self.size.width), padded(after, self.size.width))
            if changed is not None:
                self.refresh(Region(changed[0], y, changed[1] - changed[0], 1))

    def render_line(self, y: int) -> Strip:
        """Textual asks for one line of the visible part."""
        width, place = self.room, self.scroll_offset.y + y
        if place >= len(self._rows):
            return self.blank(width)
        row = self._rows[place]
        return self.strip_of(row.parts, width, is_chosen=self._has_cursor and bool(row.key) and row.key == self.chosen)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """As high as its rows, where the style says `auto`."""
        return max(1, len(self._rows))

    def titled(self, title: str, note: str = "") -> None:
        """Another title, and a note in the lower border; no markup is read. Costs a painting of the whole sheet."""
        title, note = (drawn(harmless(text), has_unicode=Drawn.has_unicode) for text in (title, note))
        wanted = (Content(title), Content(note) if note else None)
        if wanted != self._titles:
            self._titles = wanted
            self.border_title, self.border_subtitle = wanted

    def place_of(self, key: str) -> int | None:
        """Number of the row of that key."""
        return next((place for place, row in enumerate(self._rows) if row.key == key), None)

    def choose(self, key: str) -> bool:
        """Put the cursor on a row; False where there is none of that key."""
        place = self.place_of(key)
        if place is None:
            return False
        self.chosen = key
        self._see(place)
        self.call_after_refresh(self._see_chosen)  # rows that have just come are not scrollable yet
        return True

    def action_move(self, by: int) -> None:
        """The next row with a key, up or down."""
        places = [place for place, row in enumerate(self._rows) if row.key]
        here = self.place_of(self.chosen) if self.chosen else None
        ahead = [place for place in places if here is None or (place - here) * by > 0]
        if ahead:
            self.choose(self._rows[(min if by > 0 else max)(ahead)].key)

    def action_page(self, by: int) -> None:
        """A page up or down."""
        for _ in range(max(1, self.size.height - 1)):
            self.action_move(by)

    def action_end(self, which: int) -> None:
        """The first row or the last one."""
        keys = [row.key for row in self._rows if row.key]
        if keys:
            self.choose(keys[0 if which < 0 else -1])

    def action_choose(self) -> None:
        """Enter."""
        if self.chosen:
            self.post_message(self.Chosen(self, self.chosen))

    def on_click(self, event: events.Click) -> None:
        """A click moves the cursor; on the row that has it, it is an Enter."""
        offset = event.get_content_offset(self)
        place = self.scroll_offset.y + offset.y if offset is not None else -1
        if self._has_cursor and 0 <= place < len(self._rows) and (key := self._rows[place].key):
            if key == self.chosen:
                self.action_choose()
            self.chosen = key

    def on_resize(self, event: events.Resize) -> None:
        """Fewer rows fit: the cursor of the sheet in use stays in sight."""
        if self.has_focus and self.chosen:
            self.call_after_refresh(self._see_chosen)

    def watch_chosen(self, old: str, new: str) -> None:
        """Paint the two rows again."""
        for key in (old, new):
            self._paint(self.place_of(key) if key else None)
        if new:
            self.post_message(self.Moved(self, new))

    def _paint(self, place: int | None) -> None:
        if place is not None:
            self.refresh(Region(0, place - self.scroll_offset.y, self.size.width, 1))

    def _keep_cursor(self) -> None:
        if self._has_cursor and (not self.chosen or self.place_of(self.chosen) is None):
            self.chosen = next((row.key for row in self._rows if row.key), "")

    def _see_chosen(self) -> None:
        place = self.place_of(self.chosen)
        if place is not None:
            self._see(place)

    def _see(self, place: int) -> None:
        height, top = self.scrollable_content_region.height, self.scroll_offset.y
        if place < top:
            self.scroll_to(y=place, animate=False)
        elif place >= top + height:
            self.scroll_to(y=place - height + 1, animate=False)


def changed_columns(old: Line, new: Line) -> tuple[int, int] | None:
    """From which column to which (past the last) two lines of one width differ; None where they do not."""
    if old == new:
        return None
    before, after = _cells(old), _cells(new)
    if len(before) != len(after):  # a wide letter more or less: all of it
        return 0, sum(columns(span.text) for span in new)
    first = next((place for place, pair in enumerate(zip(before, after, strict=True)) if pair[0] != pair[1]), None)
    if first is None:
        return None
    last = next(p for p in range(len(before) - 1, -1, -1) if before[p] != after[p])
    width = [columns(letter) for letter, _ in after]
    return sum(width[:first]), sum(width[: last + 1])


def _cells(parts: Line) -> list[tuple[str, str]]:
    return [(letter, span.tone) for span in parts for letter in span.text]
