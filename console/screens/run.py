"""Screen 2: how the training goes, in curves and in numbers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from textual import on, work

from console.client.baseline import baselines_beside, picture_of
from console.client.targets import Moment
from console.dialogs.ask import AskDialog
from console.dialogs.pick import PickDialog
from console.messages.intents import Say
from console.screens.base import BaseScreen
from console.state import run as state
from console.state.braille import ASCII, BRAILLE, Alphabet
from console.state.spans import EMPTY, Line, Span, joined
from console.state.traces import Source, source_of
from console.widgets.bar import Bar
from console.widgets.chart import Chart
from console.widgets.drawn import Drawn
from console.widgets.sheet import Sheet


class RunScreen(BaseScreen):
    """Progress, charts, readout."""

    SCOPE: ClassVar[str] = "run"

    def __init__(self) -> None:
        super().__init__()
        self.choice = state.Choice()
        self.baseline: Source | None = None
        self._charts: state.Charts | None = None
        self._source: tuple[object, Source] = (None, Source())

    def body(self) -> Iterable[Any]:
        """One line, the charts, the figures."""
        yield Bar("status")
        yield Chart("charts")
        yield Sheet("readout", cursor=False)

    def stamp(self) -> object:
        """What was chosen."""
        return self.choice, self.baseline is None

    def fact(self, moment: Moment) -> Line:
        """How the curves are looked at, before what every screen says."""
        own = state.fact(self._charts, self.choice) if self._charts else EMPTY
        return joined([own, super().fact(moment)], Span("  ")) if self.size.width >= 110 else own

    def draw(self, moment: Moment) -> None:
        """Everything anew; the widgets paint what changed."""
        source = self._source_of(moment)
        canvas = self.query_one("#charts", Chart)
        width, height = canvas.size
        if width < 1 or height < 1:
            return
        self._charts = state.charts_of(source, self.choice, width, height, _alphabet(), self.baseline)
        canvas.show(self._charts.lines)
        moment.target.feed.watch(self._charts.visible)
        self.query_one("#status", Bar).show((Span(" "), *state.status_line(moment.view.run, self.size.width - 1)))
        readout = self.query_one("#readout", Sheet)
        readout.show(
            state.readout(self._charts, source, self.choice, self.baseline, readout.size.width, readout.size.height - 1)
        )
        self.draw_heading()

    def arrive(self, at: Mapping[str, Any]) -> None:
        """`step`: put the cursor there; `metric`: choose its chart."""
        if "step" in at:
            self._choose(replace(self.choice, look=replace(self.choice.look, axis="step", cursor=float(at["step"]))))
        if self._charts and at.get("metric") in self._charts.metrics:
            self._choose(replace(self.choice, chosen=self._charts.metrics.index(at["metric"])))

    def do_single(self) -> None:
        """One chart or all."""
        self._choose(replace(self.choice, is_single=not self.choice.is_single))

    def do_log(self) -> None:
        """The vertical axis of the chosen chart."""
        if self._charts and self._charts.metrics:
            chosen = min(self.choice.chosen, len(self._charts.metrics) - 1)
            self._choose(state.other_scale(self.choice, self._charts.metrics[chosen]))

    def do_smooth(self) -> None:
        """More."""
        self._choose(state.smoother(self.choice))

    def do_rough(self) -> None:
        """Less."""
        self._choose(state.smoother(self.choice, -1))

    def do_axis(self) -> None:
        """Steps, tokens, time."""
        self._choose(state.other_axis(self.choice))

    def do_grid(self) -> None:
        """More or fewer charts."""
        self._choose(replace(self.choice, grid=(self.choice.grid + 1) % len(state.GRIDS), is_single=False))

    def do_inspect(self) -> None:
        """The cursor."""
        self._with_charts(lambda charts: state.inspecting(self.choice, charts.shown))

    def do_back(self) -> None:
        """To the left."""
        self._sideways(-1)

    def do_ahead(self) -> None:
        """To the right."""
        self._sideways(1)

    def do_above(self) -> None:
        """A row of charts up."""
        self._with_charts(lambda charts: state.moved(self.choice, -self._columns(), len(charts.metrics)))

    def do_below(self) -> None:
        """A row of charts down."""
        self._with_charts(lambda charts: state.moved(self.choice, self._columns(), len(charts.metrics)))

    def do_page_on(self) -> None:
        """Further metrics."""
        self._with_charts(lambda charts: state.turned(self.choice, 1, charts))

    def do_page_back(self) -> None:
        """The metrics before."""
        self._with_charts(lambda charts: state.turned(self.choice, -1, charts))

    def do_closer(self) -> None:
        """Half of the axis."""
        self._choose(state.closer(self.choice, 1))

    def do_wider(self) -> None:
        """Twice the axis."""
        self._choose(state.closer(self.choice, -1))

    def do_anew(self) -> None:
        """As it was at first."""
        self._choose(state.anew(self.choice))

    def do_filter(self) -> None:
        """Only metrics of some names."""
        self.app.push_screen(AskDialog("metrics whose name holds", self.choice.pattern), self._filtered)

    def do_compare(self) -> None:
        """Choose a baseline, or let it go."""
        if self.baseline is not None:
            self.baseline = None
            self.redraw()
            return
        folder = self.moment.target.folder if self.moment else None
        found = baselines_beside(folder) if folder is not None else []
        if not found:
            self.post_message(Say("there is no other run beside this one to compare with", is_bad=True))
            return
        names = [(str(path), path.name) for path in found]
        self.app.push_screen(PickDialog("compare with", names), self._picked)

    @on(Chart.Pointed)
    def pointed(self, event: Chart.Pointed) -> None:
        """A click chooses a chart."""
        if self._charts is None or not self._charts.visible:
            return
        columns, rows = state.layout(self.choice, *event.chart.size)
        column = min(columns - 1, event.column * columns // max(1, event.chart.size.width))
        row = min(rows - 1, event.row * rows // max(1, event.chart.size.height))
        place = self._charts.page * self._charts.each + row * columns + column
        if place < len(self._charts.metrics):
            self._choose(replace(self.choice, chosen=place))

    def _picked(self, path: str | None) -> None:
        if path:
            self._compare(Path(path))

    def _filtered(self, pattern: str | None) -> None:
        if pattern is not None:
            self._choose(replace(self.choice, pattern=pattern, chosen=0))

    @work(exclusive=True, group="baseline")
    async def _compare(self, folder: Path) -> None:
        try:
            picture = await asyncio.to_thread(picture_of, folder)
            self.baseline = source_of(picture.curves, picture.view, folder.name)
        except OSError as failed:
            self.post_message(Say(f"{folder} cannot be read: {failed.strerror}", is_bad=True))
        self.redraw()

    def _source_of(self, moment: Moment) -> Source:
        key = (id(moment.picture), moment.picture.changes)
        if self._source[0] != key:
            self._source = (
                key,
                source_of(moment.picture.curves, moment.view, moment.target.name, moment.picture.metrics),
            )
        return self._source[1]

    def _sideways(self, by: int) -> None:
        self._with_charts(
            lambda charts: (
                state.moved(self.choice, by, len(charts.metrics))
                if self.choice.look.cursor is None
                else state.cursor_moved(self.choice, by, charts.shown, self._cells())
            )
        )

    def _columns(self) -> int:
        return state.layout(self.choice, *self.query_one("#charts", Chart).size)[0]

    def _cells(self) -> int:
        return state.dots_of(self.choice, *self.query_one("#charts", Chart).size, _alphabet()) // _alphabet().columns

    def _with_charts(self, decide: Callable[[state.Charts], state.Choice]) -> None:
        if self._charts is not None:
            self._choose(decide(self._charts))

    def _choose(self, choice: state.Choice) -> None:
        self.choice = choice
        self.redraw()


def _alphabet() -> Alphabet:
    return BRAILLE if Drawn.has_unicode else ASCII
