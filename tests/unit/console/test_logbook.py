"""Log lines and facts in one list; checkpoints as rows."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from console.state.logbook import (
    Entry,
    Filter,
    compiled,
    entries_of,
    next_level,
    next_trouble,
    record_lines,
    row_of,
    sources_of,
)
from console.state.shelf import (
    OnDisk,
    Shelf,
    detail_lines,
    fork_command,
    on_disk,
    resume_command,
    shelf_rows,
    verified_of,
)
from console.state.spans import text_of, width_of
from runtime.events import CheckpointWritten, Envelope, Warned
from runtime.ids import ActorPath, Step
from runtime.view.cards import CheckpointCard, RunCard, RunView
from runtime.view.logs import LogLine
from tests.unit.view.told import commit

RUN = ActorPath("run")
LINES = [
    LogLine("worker-0", 0, "2026-11-23 01:02:03,456 INFO mlx-distributed: hello", "info", 10.0),
    LogLine("worker-0", 60, "Traceback \x1b[31m[red]boom", "error", 10.0),
    LogLine("coordinator", 0, "serving", "debug", 5.0),
]
FACTS = [
    Envelope(1, 7.0, RUN, Warned("disk", "slow")),
    Envelope(2, 20.0, RUN, CheckpointWritten(Step(1), "checkpoints/step-1", 10, 0.1)),
    Envelope(3, 21.0, RUN, commit(2)),
]
ALL = entries_of(LINES, FACTS, [8.0])


def test_everything_is_merged_by_time_without_our_own_prefix() -> None:
    assert [entry.key for entry in ALL] == [
        "coordinator:0",
        "event:1",
        "mark:8.0",
        "worker-0:0",
        "worker-0:60",
        "event:2",
    ]
    assert ALL[3].text == "hello"
    assert "\x1b" not in ALL[4].text
    assert sources_of(ALL) == ["coordinator", "event", "worker-0"]


@pytest.mark.parametrize(
    ("chosen", "wanted"),
    [
        (Filter(), 6),
        (Filter(level="warning"), 3),
        (Filter(source="worker-0"), 3),
        (Filter(events=False), 4),
        (Filter(pattern="BOOM", matcher=compiled("BOOM")), 2),
        (Filter(pattern="!boom", matcher=compiled("!boom")), 5),
    ],
)
def test_a_filter_takes_what_it_says_and_every_mark(chosen: Filter, wanted: int) -> None:
    assert sum(chosen.takes(entry) for entry in ALL) == wanted


def test_a_filter_tells_what_it_leaves_out() -> None:
    assert Filter().told() == ""
    assert Filter("error", "x", "worker-0", events=False).told() == "/x/ · error and worse · worker-0 · no events"
    assert compiled("!") is None
    with pytest.raises(ValueError, match="is no regular expression"):
        compiled("(")


def test_levels_go_round() -> None:
    assert [next_level(level) for level in ("debug", "info", "warning", "error", "critical")] == [
        "info",
        "warning",
        "error",
        "debug",
        "debug",
    ]


def test_trouble_is_found_forward_backward_and_round() -> None:
    assert next_trouble(ALL, "", 1) == "event:1"
    assert next_trouble(ALL, "event:1", 1) == "worker-0:60"
    assert next_trouble(ALL, "worker-0:60", 1) == "event:1"
    assert next_trouble(ALL, "event:1", -1) == "worker-0:60"
    assert next_trouble(ALL[:1], "", 1) == ""


def test_a_hostile_line_is_letters_and_a_row_fits() -> None:
    rows = [row_of(entry, 100, 12) for entry in ALL]
    assert "[red]boom" in text_of(rows[4])
    assert "ERR" in text_of(rows[4])
    assert "mark" in text_of(rows[2])
    assert "." in text_of(rows[3])[:14]
    assert "." not in text_of(row_of(ALL[3], 60, 12))[:10]
    whole = record_lines(with_text(ALL[3], "x" * 90), 40, 3)
    assert [width_of(each) <= 40 for each in whole] == [True] * 3


def with_text(entry: Entry, text: str) -> Entry:
    return entry._replace(text=text)


def card(step: int, **changes: object) -> CheckpointCard:
    return replace(CheckpointCard(f"checkpoints/step-{step}", step, size_bytes=1000, parameter_hash="abc"), **changes)


VIEW = RunView(
    run=RunCard(name="quick", command="mlx-distributed run q.toml --resume auto"),
    checkpoints={each.path: each for each in (card(1), card(2), card(3, state="failed", reason="disk full"))},
)
DISK = [
    {"step": 1, "path": "p", "metrics": {"eval/loss": 2.0}, "pinned": True, "created_at": 5.0},
    {"step": 2, "path": "p", "metrics": {"eval/loss": "inf"}},
    {"step": None, "path": "p", "error": "broken"},
]


def test_checkpoints_are_rows_with_what_the_disk_knows() -> None:
    shelf = Shelf(
        on_disk(json.dumps(DISK)), verified_of('[{"step": 1, "ok": true}, {"step": 2, "ok": false, "error": "x"}]')
    )
    rows = shelf_rows(VIEW, shelf, 120)
    told = [text_of(parts) for parts, _ in rows]
    assert [key for _, key in rows] == ["", "checkpoints/step-3", "checkpoints/step-2", "checkpoints/step-1"]
    assert [word for word in ("pinned", "best", "whole", "2.0000") if word not in told[3]] == []
    assert [word for word in ("newest", "broken") if word not in told[2]] == []
    assert "failed" in told[1]
    assert [text_of(parts) for parts, _ in shelf_rows(RunView(), Shelf(), 80)] == ["no checkpoint yet"]


def test_the_chosen_checkpoint_tells_how_to_go_on() -> None:
    assert (
        resume_command(card(2), VIEW, "runs/quick")
        == "mlx-distributed run q.toml --resume runs/quick/checkpoints/step-2"
    )
    assert fork_command(card(2), VIEW, "runs/quick").endswith("--set run.name=quick-from-2")
    bare = RunView()
    assert resume_command(card(2), bare, "runs/x").startswith("mlx-distributed run runs/x/config.toml --resume")
    typed = resume_command(card(2), VIEW, "/home/kim/runs/quick", is_far=True)
    assert typed == (
        "mlx-distributed run /home/kim/runs/quick/config.toml --resume /home/kim/runs/quick/checkpoints/step-2 "
        "--set run.name=quick"
    )
    told = [text_of(each) for each in detail_lines(card(2), Shelf(on_disk(json.dumps(DISK))), typed, 60)]
    assert max(map(len, told)) <= 60
    assert " ".join(each[9:].strip() for each in told[3:]) == typed  # whole, over three lines
    failed = [text_of(each) for each in detail_lines(card(3, state="failed", reason="disk full"), Shelf(), "r", 60)]
    assert ("disk full" in failed[-1], detail_lines(None, Shelf(), "r", 60)) == (True, [])


def test_metrics_of_a_checkpoint_take_as_many_lines_as_they_need() -> None:
    many = {f"eval/metric_{number}": 0.5 for number in range(5)}
    told = [text_of(each) for each in detail_lines(card(2), Shelf({2: OnDisk(2, "p", many)}), "", 60)]
    assert [each.count("eval/") for each in told[2:]] == [2, 2, 1]
    assert told[3].startswith(" " * 9)
