"""Screen 2: which charts, what figures, and what its keys do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from console.app import ConsoleApp
from console.client.feeds import ALWAYS, StreamFeed
from console.client.wire import Unreachable
from console.dialogs.ask import AskDialog
from console.dialogs.pick import PickDialog
from console.screens.run import RunScreen
from console.state import run as state
from console.state.braille import BRAILLE
from console.state.spans import line, text_of, width_of
from console.state.traces import Axis, Known, Look, Source, figure, figures_of, marks_of, metrics_of, place, title_of
from console.widgets.chart import Chart, changed_parts
from runtime.events import CheckpointWritten, EvaluationFinished, Event
from runtime.events.curve import Bucket
from runtime.ids import Step
from runtime.view.cards import MarkCard, RunCard
from tests.unit.console.seats import console, in_console, shown, target, written
from tests.unit.view.told import begun, commit, steps


def said(app: ConsoleApp) -> str:
    return "\n".join(notification.message for notification in app._notifications)


def known(*values: float) -> Known:
    return Known(1, tuple(Bucket(step, value, value, value, value, value, 1) for step, value in enumerate(values, 1)))


def source(**curves: Known) -> Source:
    axes = {"axis/tokens": known(*(100.0 * step for step in range(1, 9))), "axis/seconds": known(*range(50, 58))}
    return Source({**curves, **axes}, (MarkCard(2, "lost", "worker 1"),), "now", 8)


FOUR = source(loss=known(4, 3, 2, 1), grad_norm=known(1, 2), learning_rate=known(0.1), tokens_per_second=known(5e4))


def test_metrics_of_steps_come_first_and_axes_are_none() -> None:
    names = ["axis/tokens", "held-out/bleu", "grad_norm", "held-out/loss", "loss"]
    assert metrics_of(names) == ("loss", "grad_norm", "held-out/loss", "held-out/bleu")
    assert (metrics_of(names, "norm"), metrics_of(names, "!held")) == (("grad_norm",), ("loss", "grad_norm"))
    assert (title_of("tokens_per_second"), title_of("held-out/exact_match")) == ("tokens/s", "held-out/exact match")


def test_three_hundred_metrics_are_paged_through_and_a_page_has_only_its_own() -> None:
    many = Source({f"metric-{number:03d}": known(1.0, 2.0) for number in range(300)})
    choice = state.Choice()
    charts = state.charts_of(many, choice, 100, 22, BRAILLE)
    assert (charts.pages, charts.visible[0], len(charts.lines)) == (75, "metric-000", 22)
    for _ in range(80):
        choice = state.turned(choice, 1, charts)
        charts = state.charts_of(many, choice, 100, 22, BRAILLE)
    assert (charts.page, charts.visible) == (74, tuple(f"metric-{number}" for number in range(296, 300)))
    assert "page 75/75" in text_of(state.fact(charts, choice))


def test_a_metric_that_was_not_heard_yet_has_its_place_and_is_asked_for() -> None:
    unheard = replace(FOUR, named=("loss", "held-out/bleu"))
    charts = state.charts_of(unheard, state.Choice(chosen=4), 100, 22, BRAILLE)
    assert charts.visible == ("held-out/bleu",)
    assert "no values yet" in "".join(map(text_of, charts.lines))


def test_a_stream_is_told_once_which_curves_are_visible() -> None:
    async def nowhere() -> str:
        raise Unreachable("nowhere")

    feed = StreamFeed(nowhere)
    later = feed.stream._later
    feed.watch(())
    assert later.empty()  # that is what it wants anyway
    feed.watch(("a/b",))
    feed.watch(("a/b", "loss"))
    feed.watch(("c",))
    assert later.get_nowait().metrics == [*ALWAYS, "c"]
    assert later.empty()
    assert list(feed.stream._want.metrics) == [*ALWAYS, "c"]


def test_a_small_screen_shows_fewer_charts_and_lines_are_never_too_wide() -> None:
    for width, height, count in ((100, 22, 4), (60, 22, 2), (40, 8, 1), (30, 3, 1)):
        charts = state.charts_of(FOUR, state.Choice(), width, height, BRAILLE)
        assert (len(charts.visible), len(charts.lines)) == (count, height)
        assert all(width_of(one) <= width for one in charts.lines)


def test_a_screen_without_curves_says_why() -> None:
    empty = state.charts_of(Source(), state.Choice(), 60, 9, BRAILLE)
    assert "no step has been made yet" in "".join(map(text_of, empty.lines))
    none = state.charts_of(FOUR, state.Choice(pattern="xyz"), 60, 9, BRAILLE)
    assert "no metric has xyz" in "".join(map(text_of, none.lines))
    assert state.moved(state.Choice(), 1, 0) == state.Choice()


def test_the_same_curve_stands_by_step_by_tokens_and_by_time() -> None:
    tracks = [FOUR.points("loss", axis) for axis in get_args(Axis)]
    assert [[point.x for point in points] for points in tracks] == [[1, 2, 3, 4], [100, 200, 300, 400], [0, 1, 2, 3]]
    choice = state.other_axis(state.Choice(look=Look(cursor=3.0, halvings=2)))
    assert (choice.look.axis, choice.look.cursor, choice.look.halvings) == ("tokens", None, 0)
    assert [place(90, "step"), place(90, "tokens"), place(90, "time")] == ["step 90", "90 tokens", "1m30s"]
    assert Source({"loss": known(1.0)}).track("time").at(7) == 7  # an older monitor gives no such curve


def test_figures_are_the_newest_ones_or_those_at_the_cursor_and_know_the_baseline() -> None:
    earlier = Source({"loss": known(4.5, 3.5, 2.5, 1.5)}, name="base")
    newest = figures_of("loss", FOUR, Look(), earlier)
    assert (newest.here, newest.best and newest.best.x, newest.against) == (1.0, 4.0, -0.5)
    at = figures_of("loss", FOUR, Look(cursor=2.2), earlier)
    assert (at.here, at.against) == (3.0, -0.5)
    assert figures_of("nothing", FOUR, Look()).here is None
    assert figures_of("tokens_per_second", FOUR, Look(decay=0.0), earlier).against is None
    assert [figure("loss", value) for value in (1.25, 1234.5, 0.0, None)] == ["1.2500", "1234", "0.0000", "?"]


def test_the_readout_tells_better_from_worse_in_words() -> None:
    curves = {"loss": known(4.5, 3.5, 2.5, 1.5), "grad_norm": known(0.5, 0.5), "learning_rate": known(0.1)}
    earlier = Source(curves, name="base")
    charts = state.charts_of(FOUR, state.Choice(), 100, 22, BRAILLE, earlier)
    rows = [text_of(one) for one in state.readout(charts, FOUR, state.Choice(), earlier, 96, 4)]
    assert "vs base" in rows[0]
    assert "what happened last" in rows[0]
    assert "-0.5 better" in rows[1]
    assert "lost  worker 1" in rows[1]
    assert "+0" in rows[2]
    assert "worse" not in rows[3]
    assert "+1.5 worse" in rows[4]
    narrow = state.readout(charts, FOUR, state.Choice(look=Look(cursor=1.0)), None, 50, 4)
    assert "at cursor" in text_of(narrow[0])


def test_marks_are_what_happened_and_evaluations() -> None:
    marks = marks_of(Source({"held-out/loss": known(1.0, 2.0)}, (MarkCard(2, "lost"), MarkCard(3, "unheard-of"))))
    assert [(mark.x, mark.kind) for mark in marks] == [
        (3, "unheard-of"),
        (1, "evaluation"),
        (2, "evaluation"),
        (2, "lost"),
    ]


def test_the_status_line_has_eta_with_its_interval_and_the_phases_of_a_step() -> None:
    run = RunCard(
        step=25, last_step=100, remaining_seconds=75.0, remaining_low_seconds=70.0, remaining_high_seconds=80.0,
        step_seconds=1.0, compute_seconds=0.8, exchange_seconds=0.15, feed_seconds=None, tokens=12_300,
    )  # fmt: skip
    said = text_of(state.status_line(run, 120))
    assert "━━━─────────" in said
    assert "25%" in said
    assert "ETA 1m15s (1m10s to 1m20s)" in said
    assert "step 1.0 s  compute 80%  exchange 15%" in said
    assert "12.3k tokens" in said
    assert "tokens" not in text_of(state.status_line(run, 70))
    assert "done" in text_of(state.status_line(replace(run, outcome="done"), 80))
    assert text_of(state.status_line(RunCard(step=3), 80)) == "step 3"
    assert text_of(state.eta(RunCard(remaining_seconds=5.0))) == "ETA 5.0 s"


def test_zoom_and_cursor_stay_within_the_axis() -> None:
    charts = state.charts_of(FOUR, state.Choice(), 100, 22, BRAILLE)
    choice = state.inspecting(state.Choice(), charts.shown)
    assert charts.shown.start < (choice.look.cursor or 0) < charts.shown.end
    assert state.cursor_moved(choice, 999, charts.shown, 40).look.cursor == charts.shown.end
    assert state.cursor_moved(state.Choice(), 1, charts.shown, 40) == state.Choice()
    closer = state.closer(choice, 1)
    assert (closer.look.halvings, closer.look.centre) == (1, choice.look.cursor)
    assert state.closer(closer, -1).look.halvings == 0
    assert state.inspecting(choice, charts.shown).look.cursor is None
    assert state.anew(closer).look == Look()
    assert "zoom 2x" in text_of(state.fact(charts, closer))


def test_only_parts_that_differ_are_painted_and_near_ones_together() -> None:
    old, new = line("abcdefghijklmnopqrst"), line("abXdYfghijklmnopqrsZ")
    assert list(changed_parts(old, new)) == [(2, 5), (19, 20)]
    assert list(changed_parts(old, old)) == []
    assert list(changed_parts(line("ab"), line("abc"))) == [(0, 6)]


def told(last: int = 20) -> list[Event]:
    evaluated = EvaluationFinished(Step(10), "held-out", 3.0, 10, 0.5, metrics=(("bleu", 20.0),))
    return [
        *begun(),
        *steps(1, 10),
        evaluated,
        CheckpointWritten(Step(10), "checkpoints/step-10", 5, 0.1, "a"),
        *steps(11, last),
    ]


def runs(folder: Path) -> Path:
    for name in ("earlier", "now"):
        (folder / name).mkdir()
        written(folder / name, told())
    return folder / "now"


@pytest.mark.parametrize("size", [(100, 30), (60, 20)])
def test_the_keys_of_the_screen_change_what_it_shows(tmp_path: Path, size: tuple[int, int]) -> None:
    folder = runs(tmp_path)

    async def used() -> None:
        async with console(target(folder), size=size) as (app, pilot):
            await pilot.press("2")
            await pilot.pause()
            screen = app.screen
            assert isinstance(screen, RunScreen)
            app.tick()
            await pilot.pause()
            assert "loss" in shown(app)
            before = list(app.screen.query_one(Chart).lines)
            keys = "l s x x x i right left plus minus 0 right down up g g pagedown pageup"
            for key in keys.split():
                await pilot.press(key)
            assert (screen.choice.look.logs, screen.choice.look.decay) == (frozenset({"loss"}), 0.99)
            assert list(app.screen.query_one(Chart).lines) != before
            await pilot.press("S", "enter")
            assert screen.choice.is_single
            await pilot.press("escape", "g", "g")
            assert screen.choice.chosen == 1
            await pilot.click(Chart, offset=(3, 2))
            assert screen.choice.chosen == 0

    in_console(used)


def test_an_earlier_run_is_compared_with_and_let_go_again(tmp_path: Path) -> None:
    folder = runs(tmp_path)

    async def used() -> None:
        async with console(target(folder), size=(100, 30)) as (app, pilot):
            await pilot.press("2", "c")
            assert isinstance(app.screen, PickDialog)
            await pilot.press("enter")
            await app.workers.wait_for_complete()
            await pilot.pause()
            app.tick()
            await pilot.pause()
            assert "vs earlier" in shown(app)
            await pilot.press("c")
            assert "vs earlier" not in shown(app)
            await pilot.press("c", "escape")
            assert isinstance(app.screen, RunScreen)
            await pilot.press("c")
            (tmp_path / "earlier" / "events.jsonl").unlink()
            await pilot.press("enter")
            await app.workers.wait_for_complete()
            await pilot.pause()
            assert "cannot be read" in said(app)

    in_console(used)


def test_a_run_that_is_alone_has_nothing_to_be_compared_with(tmp_path: Path) -> None:
    (tmp_path / "now").mkdir()
    written(tmp_path / "now", [*begun(), commit(1)])

    async def used() -> None:
        async with console(target(tmp_path / "now"), size=(100, 30)) as (app, pilot):
            await pilot.press("2", "c")
            await pilot.pause()
            assert isinstance(app.screen, RunScreen)
            assert "no other run beside this one" in said(app)

    in_console(used)


def test_metrics_are_filtered_by_name_and_another_screen_can_point_at_a_step(tmp_path: Path) -> None:
    folder = runs(tmp_path)

    async def used() -> None:
        async with console(target(folder), size=(100, 30)) as (app, pilot):
            await pilot.press("2", "slash")
            assert isinstance(app.screen, AskDialog)
            await pilot.press(*"bleu", "enter")
            app.tick()
            await pilot.pause()
            screen = app.screen
            assert isinstance(screen, RunScreen)
            assert screen.query_one(Chart).lines[0][0].text == "held-out/bleu"
            await pilot.press("slash", "escape")
            assert screen.choice.pattern == "bleu"
            screen.arrive({"step": 7, "metric": "held-out/bleu"})
            assert "at step 7" in shown(app)

    in_console(used)
