"""The terminal app: it holds the targets, ticks once a second, and carries intents to those who can do them.

What is shown is decided in console.state, laid out by console.screens and painted by console.widgets.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path, PurePath
from typing import Any, ClassVar

from textual import events, on
from textual.app import App
from textual.binding import Binding, BindingType
from textual.screen import Screen

from console.client.replay import ReplayFeed
from console.client.targets import Moment, Target, Targets
from console.dialogs.help import HelpDialog
from console.keyboard import Keyboard, Passed
from console.messages.intents import HARMLESS, Act, Attach, Copy, Go, Say
from console.screens.base import BaseScreen
from console.screens.palette import Commands
from console.state import keymap
from console.state.tabs import TABS, Tab, tab_of
from console.state.terminal import THEMES, Terminal
from console.widgets.drawn import Drawn
from console.widgets.themes import LOOKS
from runtime.errors import MlxdError

OpenTarget = Callable[[str, bool], Target]
"""Makes a target of what the command line takes, and whether it may be changed. Raises MlxdError for what is none."""
TICK_SECONDS = 1.0
STYLES = Path(__file__).parent / "styles"
COME_BACK = "the run goes on; come back with: {command}"


class ConsoleApp(App[None]):
    """Looks at runs, and steers them where it may."""

    TITLE = "mlx-distributed"
    CSS_PATH: ClassVar[list[str | PurePath]] = [*sorted(STYLES.glob("*.tcss"))]
    COMMANDS: ClassVar[Any] = {Commands}
    COMMAND_PALETTE_BINDING = "ctrl+p"
    BINDINGS: ClassVar[list[BindingType]] = [Binding(tab.key, f"show_tab('{tab.name}')", show=False) for tab in TABS]
    ENABLE_COMMAND_PALETTE = True

    def __init__(
        self,
        targets: Targets,
        terminal: Terminal,
        *,
        config: Path | None = None,
        open_target: OpenTarget | None = None,
        **options: Any,
    ) -> None:
        has_few_colors = terminal.theme == "ansi"  # Textual chooses how to be without colour before it has a theme
        super().__init__(ansi_color=has_few_colors or None, **options)
        self.targets = targets
        self.config = config
        self._open_target = open_target
        self.terminal = terminal
        self.is_frozen = False
        self._keyboard = Keyboard(self, super().on_event)
        self.farewell = ""
        """What to print when the terminal is the shell's again."""
        for look in LOOKS:
            self.register_theme(look)
        self.theme = terminal.theme
        self.ansi_color = None
        Drawn.has_unicode = terminal.has_unicode
        self.set_class(not terminal.has_unicode, "-ascii")
        for tab in TABS:
            self.add_mode(tab.name, partial(_made, tab))

    def reach(self, place: str) -> Target:
        """A run as the user names it."""
        if self._open_target is None:
            raise RuntimeError("this console was started without a way to reach other runs")
        return self._open_target(place, False)

    def moment(self) -> Moment | None:
        """What there is to draw now."""
        return self.targets.moment(time.monotonic(), time.time())

    async def on_mount(self) -> None:
        """The first screen, the feeds, the tick."""
        await self.switch_mode(TABS[0].name if self.targets.all else "config")
        self.screen_change_signal.subscribe(self, lambda _: self._keyboard.moved(), immediate=True)
        self.targets.start()
        self.set_interval(TICK_SECONDS, self.tick)
        self.set_interval(TICK_SECONDS, self._keyboard.look)

    async def on_unmount(self) -> None:
        """Nobody listens any more."""
        await self.targets.stop()

    async def on_event(self, event: events.Event) -> None:
        """Keys wait for each other; ^q, the way out, waits for nobody."""
        if not isinstance(event, events.Key | events.Paste) or event.is_forwarded:
            await super().on_event(event)
        elif isinstance(event, events.Key) and event.key == "ctrl+q":
            self.do_leave()
        else:
            await self._keyboard.typed(event)

    @on(Passed)
    async def passed(self, back: Passed) -> None:
        """A key is answered, or almost."""
        await self._keyboard.passed(back.number)

    def tick(self) -> None:
        """Draw what is new on the screen that is shown; at the end there is none."""
        front = self.screen_stack[-1:]
        if front and isinstance(front[0], BaseScreen):
            front[0].look()

    def action_show_tab(self, name: str) -> None:
        """One of the numbered screens."""
        if self.current_mode != name:
            self.switch_mode(name)

    @on(Go)
    async def go(self, intent: Go) -> None:
        """Another screen, and something special there."""
        await self.switch_mode(tab_of(intent.screen).name)
        screen = self.screen
        if intent.at and isinstance(screen, BaseScreen):
            screen.arrive(intent.at)

    @on(Attach)
    async def attach(self, intent: Attach) -> None:
        """One more run, shown at once."""
        known = next((target for target in self.targets.all if target.name == intent.place), None)
        if known is None and self._open_target is not None:
            try:
                known = self._open_target(intent.place, intent.is_own)
            except MlxdError as refused:
                self.say(Say(str(refused), is_bad=True))
                return
            self.targets.add(known)
        if known is not None:
            self.targets.show(known)
            await self.switch_mode(tab_of(intent.screen).name)
            self.tick()

    @on(Say)
    def say(self, intent: Say) -> None:
        """A sentence."""
        self.notify(intent.sentence, severity="warning" if intent.is_bad else "information", markup=False)

    @on(Copy)
    def copy(self, intent: Copy) -> None:
        """The clipboard, honestly: nobody knows whether the terminal took it."""
        self.copy_to_clipboard(intent.text)
        self.notify(f"sent to the terminal's clipboard: {intent.text}", markup=False)

    @on(Act)
    def act(self, intent: Act) -> None:
        """What changes the run: asked first, done beside the screen."""
        target = self.targets.current
        if target is not None:
            if target.may_act and intent.kind not in HARMLESS:
                self._keyboard.hold()  # a question will come; what is typed meanwhile is not for the screen below it
            self.run_worker(self._act(intent, target), group="act", exclusive=False)

    async def _act(self, intent: Act, target: Target) -> None:
        from console.screens.acting import carried_out

        try:
            said = await carried_out(intent, target, self)
        finally:
            self._keyboard.moved()
        self.say(said)

    def do_help(self) -> None:
        """The keys of this screen."""
        screen = self.screen
        if isinstance(screen, BaseScreen):
            moment = self.moment()
            own = keymap.OF_SCREENS.get(screen.SCOPE, ())
            shared = [*map(keymap.of_tab, TABS), *(key for key in keymap.keys_of(screen.SCOPE) if key not in own)]
            may_act = moment is not None and moment.target.may_act
            self.push_screen(HelpDialog(tab_of(screen.SCOPE).title, own, shared, may_act=may_act))

    def do_palette(self) -> None:
        """Every command by name."""
        self.action_command_palette()

    def do_freeze(self) -> None:
        """Hold the screen still, or let it go on."""
        self.is_frozen = not self.is_frozen
        self.tick()

    def do_next_target(self) -> None:
        """The next run."""
        self.targets.next()
        self.tick()

    def do_later(self) -> None:
        """On by a fiftieth."""
        self._replay(lambda feed: feed.scrub(0.02))

    def do_earlier(self) -> None:
        """Back by a fiftieth."""
        self._replay(lambda feed: feed.scrub(-0.02))

    def do_next_fact(self) -> None:
        """To the next thing that happened."""
        self._replay(lambda feed: feed.step(1))

    def do_last_fact(self) -> None:
        """To the thing before."""
        self._replay(lambda feed: feed.step(-1))

    def do_play(self) -> None:
        """As a film."""
        self._replay(ReplayFeed.play)

    def _replay(self, move: Callable[[ReplayFeed], None]) -> None:
        current = self.targets.current
        if current is not None and isinstance(current.feed, ReplayFeed):
            move(current.feed)
            self.tick()
        else:
            self.post_message(Say("this is no replay; `mlx-distributed console --replay RUN` is"))

    def do_theme(self) -> None:
        """The next look."""
        names = [*THEMES]
        self.theme = names[(names.index(self.theme) + 1) % len(names)] if self.theme in names else names[0]

    def do_filter(self) -> None:
        """A screen with a list has its own."""
        self.post_message(Say("this screen has nothing to filter"))

    def do_leave(self) -> None:
        """Leave; runs go on, and it is said how to come back."""
        moment = self.moment()
        if moment is not None and moment.liveness in {"live", "stale"} and moment.target.come_back:
            self.farewell = COME_BACK.format(command=moment.target.come_back)
        self.exit()


def _made(tab: Tab) -> Screen[None]:
    """A new screen of that tab; its module is imported only now."""
    module, _, name = tab.place.partition(":")
    made: Screen[None] = getattr(import_module(f"console.screens.{module}"), name)()
    return made
