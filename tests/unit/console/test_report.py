"""The report of a run: places and ticks, charts of letters and of lines, a page that needs nothing from elsewhere."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from console.cli.commands import plot
from console.cli.main import main
from console.cli.report import braille, page, svg
from console.cli.report.scale import over, place, ticks
from console.cli.report.series import Chart, Event, Line, charts_of, scores_of, smoothed
from console.state.scale import Scale
from runtime.errors import UsageError
from runtime.events import Envelope, RunState, fold
from runtime.events.journal import encode_line
from runtime.events.pace import efficiency
from runtime.ids import ActorPath
from tests.unit.console.scenario import commit, enveloped, story

FLOATS = st.floats(-1e9, 1e9, allow_nan=False)


def told() -> RunState:
    state = RunState()
    for envelope in enveloped(story()):
        state = fold(state, envelope)
    return state


STATE = told()


@given(st.lists(FLOATS, min_size=1, max_size=8), st.integers(1, 9))
@settings(max_examples=60)
def test_a_scale_holds_its_values_and_its_ticks_are_few_and_round(values: list[float], most: int) -> None:
    scale = over(values)
    assert scale.low < scale.high
    assert scale.low <= min(values) <= max(values) <= scale.high
    found = ticks(scale, most)
    assert len(found) <= most + 1
    assert list(found) == sorted(found)
    assert all(scale.low - 1e-6 <= tick <= scale.high + abs(scale.high) * 1e-6 + 1e-6 for tick in found)


def test_names_stand_beside_the_title_or_below_it_and_never_on_one_another() -> None:
    def chart(*names: str) -> Chart:
        return Chart("held-out scores", tuple(Line(name, ((0.0, 0.1), (9.0, 0.2)), "points") for name in names))

    def places(drawn: str) -> list[tuple[float, float]]:
        found = re.findall(r"translate\(([\d.]+) ([\d.]+)\)", drawn)
        return [(float(x), float(y)) for x, y in found]

    few = places(svg.draw(chart("right tokens", "exact match"), width=584))
    assert {y for _, y in few} == {17.0}
    assert all(x > 52 + 7 * len("held-out scores") for x, _ in few)
    names = ["right tokens", "exact match", "instruction following", "rouge1", "rouge2", "rougeL", "bleu"]
    many = places(svg.draw(chart(*names), width=584))
    assert sorted({y for _, y in many}) == [33.0, 49.0]
    for (x, y), name, (following, line) in zip(many, names, many[1:], strict=False):
        assert y < line or x + 21 + 6 * len(name) < following


def test_places_and_numbers() -> None:
    scale = Scale(0.0, 10.0, ())
    assert [place(scale, value, 0, 100) for value in (-5, 0, 2.5, 10, 99)] == [0, 0, 25, 100, 100]
    assert ticks(scale, 5) == (0, 2, 4, 6, 8, 10)
    assert over([]) == over([float("nan")]) == Scale(0.0, 1.0, ())


@given(st.lists(FLOATS, max_size=200))
@settings(max_examples=30)
def test_a_smoothed_curve_stays_among_its_values_and_keeps_its_ends(values: list[float]) -> None:
    points = [(float(step), value) for step, value in enumerate(values)]
    found = smoothed(points)
    assert [step for step, _ in found] == [step for step, _ in points]
    if points:
        room = 1e-6 * max(1.0, *map(abs, values))
        assert all(min(values) - room <= value <= max(values) + room for _, value in found)
        assert found[0][1] == pytest.approx(values[0], abs=room)
        assert found[-1][1] == pytest.approx(values[-1], abs=room)


def test_charts_of_a_run_have_its_curves_and_what_happened() -> None:
    charts = charts_of(STATE)
    assert charts[0].title == "loss (nats per token)"
    assert {line.name for line in charts[0].lines} == {"training", "smoothed", "held-out"}
    kinds = {mark.kind for mark in charts[0].marks}
    assert {"checkpoint", "lost"} <= kinds
    assert "joined" not in kinds
    assert charts_of(RunState()) == ()
    assert all(0 <= value <= 1 for line in scores_of(STATE).lines for _, value in line.points)


def diagonal(style: str = "smooth", marks: tuple[Event, ...] = ()) -> Chart:
    points = tuple((float(step), float(step)) for step in range(101))
    return Chart("up", (Line("it", points, style),), marks)  # type: ignore[arg-type]  # one of three words


def test_a_chart_of_letters_rises_from_corner_to_corner() -> None:
    lines = braille.draw(diagonal(), columns=48, rows=8)
    assert len(lines) == 1 + 8 + 2
    assert max(map(len, lines)) <= 48
    first, last = lines[8].partition("┤")[2], lines[1].partition("┤")[2]
    assert first[0] != " "
    assert last[-1] != " "
    assert len(last) > len(first)
    assert "100" in lines[-1]
    assert braille.draw(Chart("nothing", ())) == []


def test_trouble_is_a_cross_on_the_axis_and_evaluations_are_diamonds() -> None:
    points = Line("held-out", ((0.0, 1.0), (100.0, 2.0)), "points")
    chart = Chart(
        "both", (*diagonal("raw").lines, points), (Event(50, "lost", "worker 1"), Event(5, "checkpoint", "x"))
    )
    lines = braille.draw(chart, columns=60)
    assert sum(line.count("◆") for line in lines[1:]) == 2
    assert lines[-3].count("✗") == 1
    assert "a worker lost" in lines[-1]
    assert "⠢⠔⠢ it" in lines[0]


def test_a_chart_of_lines_is_xml_with_each_mark_and_a_spike_does_not_hide_the_rest() -> None:
    points = tuple((float(step), 1.0 if step != 50 else 1e6) for step in range(200))
    marks = tuple(Event(step, kind, "<&>") for step, kind in enumerate(("checkpoint", "lost", "resumed", "clipped")))
    chart = Chart('a "loss" <b>', (Line("raw", points, "raw"), Line("e", points[:3], "points")), marks)
    drawn = ElementTree.fromstring(svg.draw(chart))
    titles = [one.text or "" for one in drawn.iter("{http://www.w3.org/2000/svg}title")]
    assert sum("lost <&>" in title for title in titles) == 2
    assert not any("clipped" in title for title in titles)
    assert "1M" not in svg.draw(chart)
    assert len(svg.thinned(points, 50)) <= 51
    assert svg.thinned(points, 50)[-1] == points[-1]


def test_a_board_stands_alone_and_holds_every_chart() -> None:
    charts = charts_of(STATE)
    image = svg.board("a <run>", "sub", charts)
    texts = [one.text for one in ElementTree.fromstring(image).iter("{http://www.w3.org/2000/svg}text")]
    assert "a <run>" in texts
    assert all(chart.title in texts for chart in charts)
    assert ElementTree.fromstring(svg.board("empty", "", ())).attrib["height"] == "74"


def test_the_page_needs_nothing_from_elsewhere_and_says_how_it_ended() -> None:
    text = page.page_of(STATE, "[run]\nname = '<x>'", "runs/x/events.jsonl")
    assert not re.findall(r"(?:src|href|url)\s*[=(]", text)
    assert set(re.findall(r"https?://[^\"' <]+", text)) <= {"http://www.w3.org/2000/svg"}
    assert "name = &#x27;&lt;x&gt;&#x27;" in text
    assert "Held-out evaluations" in text
    assert "Answers before and after" in text
    assert "\x1b" not in text
    assert "<h1>quickstart</h1>" in text
    empty = page.page_of(RunState(), "", "here")
    assert "No step was committed yet" in empty
    assert "the journal names no run" in empty


def test_tiles_tell_how_full_the_rows_were() -> None:
    assert efficiency(RunState()) is None
    event = replace(commit(1, 2.0), useful_tokens=80, computed_positions=100)
    one = fold(RunState(), Envelope(1, 1.0, ActorPath("run"), event))
    assert efficiency(one) == 0.8
    assert ("80%", "of the computed positions were of use") in page.tiles(one)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    run = tmp_path / "run"
    run.mkdir()
    (run / "events.jsonl").write_bytes(b"".join(encode_line(envelope) for envelope in enveloped(story())))
    (run / "config.toml").write_text("schema = 1\n")
    return run


def test_the_command_draws_in_the_terminal_or_into_a_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plot", str(folder)]) == 0
    assert capsys.readouterr().out.startswith("loss (nats per token)")
    for name in ("a.html", "a.svg"):
        assert main(["plot", str(folder), "--output", str(folder / name)]) == 0
        assert (folder / name).read_text().startswith(("<!doctype html>", "<svg"))
    assert main(["plot", str(folder), "--output", str(folder / "missing" / "a.svg")]) == 1
    assert main(["plot", str(folder), "--output", "a.pdf"]) == 2
    assert main(["plot", str(folder.parent)]) == 2
    said = capsys.readouterr().err
    assert "the name must end with .html, .svg, .png" in said
    assert "is no run: events.jsonl cannot be read" in said
    assert plot.terminal_lines(RunState(), 80) == ["no step was committed yet"]


def test_an_image_of_points_is_drawn_by_what_is_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for script, outcome in (
        ("cat", b"<svg/>"),
        ("echo no such thing >&2; exit 3", "rsvg-convert failed: no such thing"),
    ):
        program = tmp_path / plot.RASTERISER
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
        if isinstance(outcome, bytes):
            assert plot.rasterised(b"<svg/>") == outcome
        else:
            with pytest.raises(UsageError, match=outcome):
                plot.rasterised(b"<svg/>")
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert shutil.which(plot.RASTERISER) is None
    with pytest.raises(UsageError, match="install librsvg2-bin"):
        plot.rasterised(b"<svg/>")
