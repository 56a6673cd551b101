"""Lines of logs: parsed, chosen, merged, and read from a cursor."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

from runtime.view.logfiles import MOST_BYTES, LogFiles
from runtime.view.logs import MOST_CHARACTERS, LogLine, Place, Wanted, merged, parsed

AT = datetime(2026, 11, 23, 1, 2, 3).astimezone().timestamp()


def line(second: int, text: str = "text", level: str = "INFO") -> str:
    return f"2026-11-23 01:02:{second:02d},500 {level} mlx-distributed: {text}\n"


def folder(tmp_path: Path, **files: str) -> Path:
    (tmp_path / "logs").mkdir(exist_ok=True)
    for name, text in files.items():
        (tmp_path / "logs" / f"{name}.log").write_text(text, encoding="utf-8")
    return tmp_path


def texts(lines: list[LogLine]) -> list[str]:
    return [each.text.rpartition(": ")[2] for each in lines]


def test_a_line_says_its_time_and_level_and_what_follows_belongs_to_it() -> None:
    data = (line(3, "bad", "WARNING") + "  more of it\n\nhalf a li").encode()
    lines, place = parsed("worker-0", data, Place(100))
    assert [(each.seconds, each.level) for each in lines] == [(AT + 0.5, "warning")] * 2
    assert place == Place(100 + len(data) - len("half a li"), AT + 0.5, "warning")
    assert lines[0].offset_bytes == 100


def test_a_traceback_is_an_error_whoever_printed_it() -> None:
    lines, _ = parsed(
        "a", (line(3) + "Traceback (most recent call last):\n  File x\nValueError: no\n").encode(), Place(0)
    )
    assert [each.level for each in lines] == ["info", "error", "error", "error"]


def test_a_date_that_is_none_has_no_time() -> None:
    (only,), _ = parsed("a", b"2026-02-31 01:02:03,500 ERROR x: y\n", Place(0))
    assert (only.seconds, only.level) == (0.0, "error")


def test_bytes_that_are_no_text_and_lines_without_end_are_borne() -> None:
    (only,), _ = parsed("a", b"\xff" * 9000 + b"\n", Place(0))
    assert len(only.text) == MOST_CHARACTERS


def test_lines_are_merged_by_time_and_stay_in_order_within_a_file() -> None:
    a = [LogLine("a", 0, "1", "info", 5.0), LogLine("a", 1, "2", "info", 3.0)]
    b = [LogLine("b", 0, "3", "info", 4.0), LogLine("b", 1, "4", "info", 6.0)]
    assert [each.text for each in merged([*a, *b])] == ["3", "1", "2", "4"]


def test_wanted_lines_have_the_level_the_pattern_and_the_source(tmp_path: Path) -> None:
    run = folder(tmp_path, a=line(1, "one") + line(3, "two", "ERROR"), b=line(2, "three", "ERROR"))
    assert texts(LogFiles(run, Wanted()).fresh()) == ["one", "three", "two"]
    assert texts(LogFiles(run, Wanted("warning")).fresh()) == ["three", "two"]
    assert texts(LogFiles(run, Wanted(pattern=re.compile("one|two"))).fresh()) == ["one", "two"]
    assert texts(LogFiles(run, Wanted(sources=frozenset({"b"}))).fresh()) == ["three"]


def test_a_reader_goes_on_where_its_cursor_is(tmp_path: Path) -> None:
    run = folder(tmp_path, a=line(1, "one"))
    files = LogFiles(run, Wanted())
    assert texts(files.fresh()) == ["one"]
    assert files.fresh() == []
    folder(tmp_path, a=line(1, "one") + line(2, "two") + "not yet whole")
    assert texts(LogFiles(run, Wanted(), files.cursor).fresh()) == ["two"]
    assert texts(files.fresh()) == ["two"]


def test_a_file_that_was_emptied_is_read_from_its_start(tmp_path: Path) -> None:
    run = folder(tmp_path, a=line(1, "one") + line(2, "two"))
    files = LogFiles(run, Wanted())
    files.fresh()
    folder(tmp_path, a=line(3, "new"))
    assert texts(files.fresh()) == ["new"]


def test_the_newest_lines_come_first_and_then_what_is_written_later(tmp_path: Path) -> None:
    run = folder(tmp_path, a="".join(line(n % 60, f"line {n}") for n in range(5000)))
    files = LogFiles(run, Wanted())
    assert texts(files.begin_with_newest(2)) == ["line 4998", "line 4999"]
    assert files.fresh() == []


def test_a_line_longer_than_anybody_reads_does_not_stop_the_reader(tmp_path: Path) -> None:
    run = folder(tmp_path, a="x" * (MOST_BYTES + 10) + "\n" + line(1, "after"))
    files = LogFiles(run, Wanted())
    assert len(files.fresh()) == 1
    assert texts(files.fresh())[-1] == "after"


def test_a_folder_without_logs_has_no_lines(tmp_path: Path) -> None:
    assert LogFiles(tmp_path, Wanted()).begin_with_newest(5) == []
    run = folder(tmp_path)
    (run / "logs" / "x.log").mkdir()
    assert LogFiles(run, Wanted()).fresh() == []


def test_of_many_lines_only_the_newest_are_looked_at_and_each_has_its_place(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "worker-0.log"
    path.parent.mkdir()
    path.write_text("".join(f"line {n}\n\n" for n in range(100)))
    for lines in (1, 3, 100, 500):
        files = LogFiles(tmp_path, Wanted())
        newest = files.begin_with_newest(lines)
        assert texts(newest) == [f"line {n}" for n in range(100)][-lines:]
        assert all(path.read_bytes()[each.offset_bytes :].startswith(each.text.encode()) for each in newest)
        assert files.cursor == {"worker-0": path.stat().st_size}
