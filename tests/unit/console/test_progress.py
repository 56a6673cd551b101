from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from console.cli.progress import MODES, Progress, choose, summary_of
from console.cli.progress.choice import Mode, Silent
from console.cli.progress.json_lines import JsonLines
from console.cli.progress.live import Live
from console.cli.progress.output import Output
from console.cli.progress.plain import Plain
from console.cli.progress.repeats import AGAIN_AFTER_SECONDS
from console.cli.progress.status import line_of_width
from console.state.figures import columns
from console.state.notable import line_of
from runtime.events import (
    CheckpointFailed,
    CheckpointWritten,
    Envelope,
    EvaluationFinished,
    RunFinished,
    RunState,
    SampleGenerated,
    fold_all,
)
from runtime.events.codec import envelope_from_json
from runtime.ids import ActorPath, Step
from tests.unit.console.scenario import COMMAND, commit, enveloped, sample, shown, started, story, troubled
from tests.unit.events.strategies import envelopes

FIXTURES = Path(__file__).parents[2] / "fixtures" / "progress"
FOLDER = Path("runs/quickstart")
SCENARIOS = {"story": story, "troubled": troubled}


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def fixture(name: str) -> str:
    return (FIXTURES / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", SCENARIOS)
def test_plain_progress_reads_like_this(name: str) -> None:
    stream = io.StringIO()
    shown(Plain(stream), SCENARIOS[name]())
    assert stream.getvalue() == fixture(f"{name}-plain.txt")


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_live_terminal_of_60_columns_gets_this(name: str) -> None:
    stream = Terminal()
    shown(Live(stream, colour=False, columns=lambda: 60), SCENARIOS[name]())
    assert stream.getvalue().replace("\r\x1b[K", "<erase>") == fixture(f"{name}-live-60.txt")


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_summary_reads_like_this(name: str) -> None:
    state = shown(Silent(), SCENARIOS[name]())
    assert summary_of(state, FOLDER) + "\n" == fixture(f"{name}-summary.txt")


def test_plain_progress_has_no_control_characters() -> None:
    stream = io.StringIO()
    shown(Plain(stream), [*story(), *troubled()])
    assert not {character for character in stream.getvalue() if ord(character) < 32 or ord(character) == 127} - {"\n"}


def test_fast_steps_do_not_get_a_line_each() -> None:
    stream = io.StringIO()
    shown(Plain(stream), [(0, started(last_step=1000)), *((0.01, commit(step, 2.0)) for step in range(1, 1001))])
    lines = [line for line in stream.getvalue().splitlines() if "  step " in line]
    assert [line.split()[2] for line in lines] == ["1/1000", "1000/1000"]


def test_slow_steps_get_a_line_each() -> None:
    stream = io.StringIO()
    shown(Plain(stream), [(0, started(last_step=5)), *((60, commit(step, 2.0)) for step in range(1, 4))])
    assert [line[:5] for line in stream.getvalue().splitlines()] == ["00:00", "01:00", "02:00", "03:00"]


def test_a_clock_that_is_set_back_does_not_silence_the_figures() -> None:
    stream = io.StringIO()
    shown(Plain(stream), [(0, started()), (3600, commit(1, 2.0)), (-3000, commit(2, 2.0)), (1, commit(3, 2.0))])
    assert [line.split()[2] for line in stream.getvalue().splitlines()[1:]] == ["1/40", "2/40", "3/40"]


def test_a_live_line_is_drawn_four_times_a_second_at_most() -> None:
    stream = Terminal()
    shown(
        Live(stream, columns=lambda: 100),
        [(0, started(last_step=1000)), *((0.01, commit(step, 2.0 + step)) for step in range(1, 101))],
    )
    assert stream.getvalue().count("\x1b[K") <= 7  # the first, four within the second, the last


def test_a_live_line_that_did_not_change_is_not_drawn_again() -> None:
    stream = Terminal()
    live, state = Live(stream, columns=lambda: 100), RunState()
    (envelope,) = enveloped([(0, RunFinished("done", Step(1), 1.0))])
    for later in range(5):
        live.update(Envelope(envelope.seq, envelope.wall_seconds + later, envelope.path, envelope.event), state)
    assert stream.getvalue().count("starting") == 1


def test_colour_marks_bad_and_good_news_unless_refused() -> None:
    coloured, grey = Terminal(), Terminal()
    shown(Live(coloured, columns=lambda: 100), story())
    shown(Live(grey, colour=False, columns=lambda: 100), story())
    assert "\x1b[31mworker 1 lost" in coloured.getvalue()
    assert "\x1b[32mcheckpoint" in coloured.getvalue()
    assert "\x1b[3" not in grey.getvalue()


def test_closing_a_live_line_that_was_never_drawn_writes_nothing() -> None:
    stream = Terminal()
    Live(stream).close(RunState())
    assert stream.getvalue() == ""


def test_a_stream_without_a_size_is_80_columns_wide() -> None:
    stream = Terminal()
    shown(Live(stream), story())
    lines = stream.getvalue().replace("\r\x1b[K", "\n").splitlines()
    figures = [line for line in lines if line.startswith(("step ", "["))]
    assert figures
    assert max(len(line) for line in figures) <= 79


def test_the_terminals_own_size_is_asked_at_each_draw() -> None:
    controller, terminal = os.openpty()
    try:
        import fcntl
        import struct
        import termios

        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 30, 0, 0))
        with open(terminal, "w", encoding="utf-8", closefd=False) as stream:
            shown(Live(stream, colour=False), [(0, started()), (1, commit(1, 2.0))])
        said = ""
        while "step 1/40" not in said:
            said += os.read(controller, 4096).decode()
    finally:
        os.close(controller)
        os.close(terminal)
    assert all(len(line.strip()) <= 29 for line in said.split("\x1b[K") if line.startswith("step"))


@given(envelopes(most=20), st.integers(10, 130))
@settings(deadline=None, max_examples=40)
def test_a_line_never_exceeds_its_width(facts: list[Envelope], width: int) -> None:
    assert columns(line_of_width(fold_all(facts), width)) <= width


@given(envelopes(most=20, small=False))
@settings(deadline=None, max_examples=40)
def test_no_fact_makes_any_progress_raise_or_steer_the_terminal(facts: list[Envelope]) -> None:
    streams = [io.StringIO(), io.StringIO(), io.StringIO()]
    shows: list[Progress] = [Plain(streams[0]), Live(streams[1], columns=lambda: 40), JsonLines(streams[2])]
    state = fold_all(facts)
    for progress in shows:
        for envelope in facts:
            progress.update(envelope, state)
        progress.close(state)
    text = summary_of(state, FOLDER)
    for written in (streams[0].getvalue(), text):
        assert not any(ord(character) < 32 and character != "\n" for character in written)


def test_json_progress_is_the_journal_line_by_line() -> None:
    stream = io.StringIO()
    shown(JsonLines(stream), story())
    lines = stream.getvalue().splitlines()
    assert stream.getvalue().isascii()
    read = [envelope_from_json(json.loads(line)) for line in lines]
    assert [(each.seq, repr(each.event)) for each in read] == [
        (each.seq, repr(each.event)) for each in enveloped(story())
    ]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437", "utf-8"])
def test_a_stream_of_any_encoding_is_served(encoding: str) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, errors="strict")
    shown(Plain(stream), [(0, started()), (0, sample(0, "2 + 3", "5", "\u4e94 \u00fc"))])
    text = raw.getvalue().decode(encoding)
    assert "sample after step 0" in text
    assert ("\u4e94" in text) == (encoding == "utf-8")


def test_an_encoding_that_python_does_not_know_is_served_in_ascii() -> None:
    class Odd(io.StringIO):
        encoding = "klingon"

    stream = Odd()
    Output(stream).write("\u00fc!")
    assert stream.getvalue() == "?!"


def test_a_broken_pipe_ends_the_talk_and_not_the_run() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    stream = os.fdopen(writer, "w", encoding="utf-8")
    shown(Plain(stream), story())
    with pytest.raises(BrokenPipeError):
        stream.close()


def test_a_closed_stream_ends_the_talk_and_not_the_run() -> None:
    stream = io.StringIO()
    stream.close()
    shown(Plain(stream), story())
    assert type(choose("auto", stream, stream, {"TERM": "xterm"})) is Plain


@pytest.mark.parametrize(
    ("mode", "terminal", "environment", "expected"),
    [
        ("auto", True, {"TERM": "xterm-256color"}, Live),
        ("auto", True, {"TERM": "screen", "NO_COLOR": "1"}, Live),
        ("auto", True, {"TERM": "dumb"}, Plain),
        ("auto", True, {}, Plain),
        ("auto", True, {"TERM": "xterm", "CI": "true"}, Plain),
        ("auto", False, {"TERM": "xterm"}, Plain),
        ("live", False, {"TERM": "dumb"}, Live),
        ("plain", True, {"TERM": "xterm"}, Plain),
        ("json", True, {"TERM": "xterm"}, JsonLines),
        ("none", True, {"TERM": "xterm"}, Silent),
    ],
)
def test_the_mode_is_what_was_asked_or_what_the_stream_bears(
    mode: Mode, terminal: bool, environment: dict[str, str], expected: type
) -> None:
    stream = Terminal() if terminal else io.StringIO()
    assert type(choose(mode, stream, io.StringIO(), environment)) is expected


def test_without_an_environment_the_processs_own_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    assert type(choose("auto", Terminal(), io.StringIO())) is Plain
    assert MODES[0] == "auto"


def test_an_interrupted_run_names_the_command_that_goes_on() -> None:
    state = shown(Silent(), [(0, started()), (2, commit(1, 2.0))])
    text = summary_of(state, FOLDER)
    assert text.startswith("run quickstart: interrupted at step 1/40 after 2.0 s\n")
    assert text.endswith(f"\n  go on with: {COMMAND}")


def test_a_stopped_run_names_the_command_that_goes_on() -> None:
    state = shown(Silent(), [(0, started()), (0, RunFinished("stopped", Step(1), 3.0, "SIGINT"))])
    assert "stopped by request at step 0/40" in summary_of(state, FOLDER)
    assert summary_of(state, FOLDER).endswith(f"\n  go on with: {COMMAND}")


def test_a_second_session_is_counted() -> None:
    state = shown(
        Silent(),
        [
            (0, started()),
            (
                0,
                started(),
            ),
            (0, RunFinished("done", Step(1), 3.0)),
        ],
    )
    text = summary_of(state, FOLDER)
    assert "after 3.0 s, session 2" in text
    assert "1 interruption" in text


def test_a_summary_of_nothing_is_still_a_sentence() -> None:
    assert summary_of(RunState(), FOLDER).startswith("run ?: interrupted at step 0 after 0 ms")


def test_two_splits_are_named() -> None:
    facts = [EvaluationFinished(Step(0), split, 2.0, 10) for split in ("easy", "hard")]
    state = shown(Silent(), [(0, fact) for fact in facts])
    assert "easy 2.0000 -> 2.0000 (0.0% -> 0.0% of tokens right); hard 2.0000" in summary_of(state, FOLDER)


def test_scores_are_shown_beside_the_loss_and_summed_up_from_first_to_last() -> None:
    first = EvaluationFinished(Step(0), "held-out", 2.0, 10, metrics=(("perplexity", 7.389056), ("rougeL", 0.125)))
    parts = (("rougeL", 0.5), ("instruction_following", 0.25), ("instruction_following/prompt_loose", 0.75))
    state = shown(Silent(), [(0, first), (1, replace(first, step=Step(8), metrics=parts))])
    line = line_of(Envelope(1, 0.0, ActorPath("run"), first), RunState())
    assert line == "held-out loss 2.0000 after step 0 (10 tokens, 0.0% of tokens right); perplexity 7.389; rougeL 0.125"
    expected = "perplexity 7.389 -> 7.389, rougeL 0.125 -> 0.5, instruction_following 0.25 -> 0.25"
    assert any(row.strip() == f"scores         {expected}" for row in summary_of(state, FOLDER).splitlines())


def test_samples_of_one_moment_only_leave_the_other_column_open() -> None:
    only: list[SampleGenerated] = [sample(0, "2 + 3", "5", "x")]
    state = shown(Silent(), [(0, fact) for fact in only])
    row = summary_of(state, FOLDER).splitlines()[-1]
    assert row.split() == ["2", "+", "3", "5", "x", "-"]


def test_importing_the_progress_loads_neither_rich_nor_trio_nor_mlx() -> None:
    program = (
        "import sys, console.cli.progress, console.cli.progress.live, console.cli.progress.plain; "
        "print([name for name in ('rich', 'trio', 'textual', 'mlx', 'pydantic', 'grpc') if name in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-P", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, timeout=60)
    assert done.stdout.strip() == "[]"


def test_a_failing_checkpoint_is_said_once_until_it_changes_heals_or_a_while_has_passed() -> None:
    def full(step: int, free: str = "3.1 MB") -> CheckpointFailed:
        return CheckpointFailed(Step(step), f"cannot save step {step} in runs: the disk is full ({free} free)")

    stream = io.StringIO()
    story = [
        (0, started(last_step=100)),
        (1, full(5)),
        (1, full(10, "2.9 MB")),
        (1, CheckpointFailed(Step(15), "the disk reports an input/output error")),
        (1, full(20)),
        (1, CheckpointWritten(Step(25), "checkpoints/step-00000025", 1, 0.1)),
        (1, full(30)),
        (AGAIN_AFTER_SECONDS - 1, full(35)),
        (1, full(40)),
    ]
    shown(Plain(stream), story)
    said = [
        line.split("checkpoint of step ")[1].split()[0] for line in stream.getvalue().splitlines() if "failed" in line
    ]
    assert said == ["5", "15", "20", "30", "40"]
