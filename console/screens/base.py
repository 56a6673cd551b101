"""What every screen is: title line, tab line, its own body, and the keys at the bottom; drawn only when it changed.

A screen says its SCOPE (its name in console.state.tabs and keymap), composes `body`, and lays a Moment out in `draw`.
Its keys are rows of the keymap: an action `verify` is the method `do_verify`; one that acts is refused, with a
sentence, where the console may only look.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, cast

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen

from console.client.replay import ReplayFeed
from console.client.targets import Moment
from console.messages.intents import Act, Say
from console.screens.seat import Seat
from console.state.heading import alarms_line, liveness_line, tab_line, time_left, title_line
from console.state.keymap import footer_of, keys_of, refusal_of
from console.state.keys.row import Key
from console.state.spans import EMPTY, Line, Span, joined, line
from console.state.tabs import TABS
from console.state.timeline import timeline_line
from console.widgets.bar import Bar

_WIDTHS = ((0, "-narrow"), (76, "-normal"), (120, "-wide"))
_HEIGHTS = ((0, "-short"), (28, "-tall"))
"""From so many columns and rows on, a screen has this class."""


class BaseScreen(Screen[None]):
    """One of the numbered screens."""

    SCOPE: ClassVar[str] = ""

    def __init_subclass__(cls, **options: Any) -> None:
        if cls.SCOPE:
            cls.BINDINGS = bindings_of(cls.SCOPE)
        super().__init_subclass__(**options)

    def __init__(self) -> None:
        super().__init__()
        self.HORIZONTAL_BREAKPOINTS = list(_WIDTHS)
        self.VERTICAL_BREAKPOINTS = list(_HEIGHTS)
        self._stamp: object = None
        self.moment: Moment | None = None
        """What was drawn last."""

    def body(self) -> Iterable[Any]:
        """The widgets between the tab line and the keys."""
        return ()

    def draw(self, moment: Moment) -> None:
        """Lay the moment out; called when something in it changed, and after a change of size."""

    def fact(self, moment: Moment) -> Line:
        """What stands at the right of the tab line."""
        alarms = moment.view.open_alarms
        critical = sum(card.level == "critical" for card in alarms)
        warnings = sum(card.level == "warning" for card in alarms)
        return joined([time_left(moment.view.run), alarms_line(critical, warnings)], Span("  "))

    def arrive(self, at: Mapping[str, Any]) -> None:
        """Somebody came here with something special in mind (messages.intents.Go)."""

    def stamp(self) -> object:
        """What else, beside the picture, must change for a new drawing: the screen's own choices."""
        return None

    @property
    def seat(self) -> Seat:
        """The app, as much of it as screens may know."""
        return cast("Seat", self.app)

    def compose(self) -> ComposeResult:
        """Textual asks for the widgets."""
        yield Bar("title")
        yield Bar("tabs")
        yield from self.body()
        yield Bar("timeline")
        yield Bar("keys")

    def look(self, *, force: bool = False) -> None:
        """Draw if anything changed since the last time; costs nothing otherwise. A screen whose widgets are being
        made or taken away draws nothing: the app's tick comes when it likes."""
        if not self.is_mounted or not self.display:
            return
        moment = self.seat.moment()
        stamp = (_stamp_of(moment, self.seat.is_frozen), self.size, self.stamp())
        if stamp == self._stamp and not force:
            return
        old, self._stamp = self._stamp, stamp
        if moment is not None and (force or not self.seat.is_frozen or old is None):
            self.moment = moment
            self.set_class(not moment.is_believable, "-stale")
            self.draw(moment)
        self.draw_heading()

    def redraw(self) -> None:
        """Draw what is known already, after a choice of the user."""
        if self.moment is not None and self.is_mounted:
            self._stamp = None
            self.look(force=True)

    def on_screen_resume(self) -> None:
        """It is in front again; a dialog kept from it what became of the terminal's size meanwhile."""
        for length, steps in zip(self.app.size, (_WIDTHS, _HEIGHTS), strict=True):
            chosen = max(step for step in steps if length >= step[0])
            for step in steps:
                self.set_class(step == chosen, step[1])
        self.call_after_refresh(self.look, force=True)

    def on_resize(self, event: events.Resize) -> None:
        """Another size: everything is laid out anew."""
        self.call_after_refresh(self.look, force=True)

    def action_press(self, action: str) -> None:
        """A key of the table; its action is a method of the screen or of the app."""
        key = next(key for key in keys_of(self.SCOPE) if key.action == action)
        moment = self.seat.moment()
        if key.acts and (moment is None or not moment.target.may_act):
            self.post_message(Say(refusal_of(key), is_bad=True))
            return
        done = getattr(self, f"do_{action}", None) or getattr(self.app, f"do_{action}")
        done()

    def do_pause(self) -> None:
        """Pause the run, or let it go on."""
        moment = self.seat.moment()
        self.post_message(Act("resume" if moment is not None and moment.view.run.pausing else "pause"))

    def do_checkpoint(self) -> None:
        """Have one written now."""
        self.post_message(Act("checkpoint"))

    def do_stop(self) -> None:
        """End the run after a checkpoint."""
        self.post_message(Act("stop"))

    def do_add_worker(self) -> None:
        """One more on the run's machine."""
        self.post_message(Act("add_worker"))

    def draw_heading(self) -> None:
        """The title line, the tab line and the keys alone."""
        moment = self.seat.moment()
        width, said = self.size.width, EMPTY
        if moment is not None:
            run, over = moment.view.run, bool(moment.view.run.outcome)
            said = liveness_line(
                moment.liveness,
                moment.age_seconds,
                moment.target.feed.trouble,
                is_over=over,
                replaying=isinstance(moment.target.feed, ReplayFeed),
                frozen=self.seat.is_frozen,
                read_share=moment.picture.read_share,
            )
            self.query_one("#title", Bar).show(title_line(run, said, width, place=moment.target.name))
            self.query_one("#tabs", Bar).show(tab_line(TABS, self.SCOPE, self.fact(moment), width))
        else:
            self.query_one("#title", Bar).show(line((" mlx-distributed", "accent")))
            self.query_one("#tabs", Bar).show(tab_line(TABS, self.SCOPE, EMPTY, width))
        self._draw_timeline(moment)
        may_act = moment is not None and moment.target.may_act
        self.query_one("#keys", Bar).show(keys_line(footer_of(self.SCOPE, may_act=may_act), width))

    def _draw_timeline(self, moment: Moment | None) -> None:
        feed = moment.target.feed if moment is not None else None
        self.set_class(isinstance(feed, ReplayFeed), "-replay")
        if isinstance(feed, ReplayFeed):
            film = feed.speed if feed.is_playing else None
            told = timeline_line(
                feed.begin_seconds, feed.end_seconds, feed.at_seconds, feed.marks, self.size.width, film=film
            )
            self.query_one("#timeline", Bar).show(told)


def bindings_of(scope: str) -> list[BindingType]:
    """The rows of the keymap as Textual wants them."""
    own: list[BindingType] = [
        Binding(key.keys, f"press('{key.action}')", key.label, show=False) for key in keys_of(scope)
    ]
    return own


def keys_line(keys: Iterable[Key], width: int) -> Line:
    """`r Restart  ? Help`: as many as fit, the last one always."""
    shown = [line((key.shown, "key"), f" {key.label}") for key in keys]
    while len(shown) > 1 and sum(sum(len(span.text) for span in each) + 3 for each in shown) + 1 > width:
        shown.pop(-2)
    return (Span(" "), *joined(shown, Span("   ")))


def _stamp_of(moment: Moment | None, is_frozen: bool) -> object:
    if moment is None:
        return None
    age = int(moment.age_seconds or 0) if moment.liveness == "stale" else 0
    told = moment.picture.changes if not is_frozen else -1
    feed = moment.target.feed
    place = (feed.at_seconds, feed.is_playing) if isinstance(feed, ReplayFeed) else None
    return (
        place,
        id(moment.target),
        told,
        moment.liveness,
        age,
        round(100 * (moment.picture.read_share or 0.0)),
        moment.target.feed.trouble,
        is_frozen,
        moment.target.may_act,
    )
