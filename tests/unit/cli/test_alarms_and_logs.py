"""The headless twins of the console's alarms and logs, on folders without a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from console.cli import main
from console.cli.commands.alarms import lines
from runtime.app.run_lock import RunLock
from runtime.events import AlarmAcknowledged, Envelope, Event, Warned, WorkerLost
from runtime.events.journal import encode_line
from runtime.ids import ActorPath, Rank
from runtime.view.cards import AlarmCard
from tests.unit.view.told import ONE, begun, steps


def journal(folder: Path, *facts: Event) -> Path:
    told = (Envelope(n, 1000.0 + n, ActorPath("run"), fact) for n, fact in enumerate(facts, 1))
    (folder / "events.jsonl").write_bytes(b"".join(map(encode_line, told)))
    return folder


def ran(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, list[str], str]:
    code = main.main([str(word) for word in words])
    out, err = capsys.readouterr()
    return code, out.splitlines(), err


def test_a_run_without_an_alarm_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = journal(tmp_path, *begun(), *steps(1, 3))
    assert ran(capsys, "alarms", run, "--exit-code")[:2] == (0, ["no alarm"])
    assert ran(capsys, "alarms", run, "--json")[:2] == (0, [])


def test_an_alarm_has_its_cause_its_fix_and_its_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = journal(tmp_path, *begun(), *steps(1, 3), WorkerLost(Rank(1), ONE, "killed\x1b[31m"))
    code, told, _ = ran(capsys, "alarms", run, "--exit-code")
    assert (code, told[0]) == (1, "warning: worker 1 on mac0: lost: killed [31m (since 0 ms)")
    assert told[1].startswith("  fix: its supervisor starts it again")
    assert told[2] == f"  run: mlx-distributed logs {run} --worker 1"
    code, told, _ = ran(capsys, "alarms", run, "--json")
    assert (code, json.loads(told[0])["rule"]) == (0, "worker_lost")


def test_seen_and_mended_alarms_are_told_when_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = journal(tmp_path, *begun(), Warned("disk", "slow"), AlarmAcknowledged("warned disk", "kim"))
    assert ran(capsys, "alarms", run, "--exit-code")[:2] == (0, ["no alarm"])
    assert ran(capsys, "alarms", run, "--all")[1][0].startswith("seen by kim: disk")
    mended = AlarmCard("k", "r", subject="x", cause="y", is_mended=True, seen=2, since_seconds=5.0)
    assert lines(mended, 10.0) == ["mended: x: y (since 5.0 s, 2 times)"]


def test_a_live_run_is_judged_by_the_present_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = journal(tmp_path, *begun(), *steps(1, 3))
    lock = RunLock.take(run, "id", "the command")
    try:
        assert "stalled" in ran(capsys, "alarms", run, "--json")[1][0]
    finally:
        lock.release()


def test_what_is_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("alarms", "logs"):
        code, _, err = ran(capsys, command, tmp_path)
        assert (code, "is no run" in err) == (2, True)
    (tmp_path / "events.jsonl").symlink_to(tmp_path / "events.jsonl")
    assert ran(capsys, "alarms", tmp_path)[0] == 2


def said(second: int, level: str, text: str) -> str:
    return f"2026-11-23 01:02:{second:02d},500 {level} mlx-distributed: {text}\n"


def logged(folder: Path) -> Path:
    (folder / "logs").mkdir()
    (folder / "logs" / "worker-0.log").write_text(said(1, "INFO", "one") + said(3, "ERROR", "three \x1b[2J"))
    (folder / "logs" / "coordinator.log").write_text(said(2, "WARNING", "two"))
    return folder


def test_lines_are_merged_by_time_and_steer_no_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = logged(tmp_path)
    told = ran(capsys, "logs", run)[1]
    assert [line.split()[0] for line in told] == ["worker-0", "coordinator", "worker-0"]
    assert told[2].endswith("three  [2J")
    assert ran(capsys, "logs", run, "-n", "1")[1] == told[2:]


def test_lines_are_chosen_by_level_source_and_pattern(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = logged(tmp_path)
    assert len(ran(capsys, "logs", run, "--level", "warning")[1]) == 2
    assert len(ran(capsys, "logs", run, "--worker", 0)[1]) == 2
    assert len(ran(capsys, "logs", run, "--source", "coordinator", "--worker", 0)[1]) == 3
    (only,) = ran(capsys, "logs", run, "--grep", "t[w]o", "--json")[1]
    assert json.loads(only)["level"] == "warning"
    assert ran(capsys, "logs", run, "--grep", "(")[0] == 2


def test_following_a_run_that_is_over_ends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(ran(capsys, "logs", logged(tmp_path), "-f")[1]) == 3
