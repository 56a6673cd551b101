"""A schedule written as CSV is the same schedule when it is read."""

from __future__ import annotations

import pytest

from runtime.pipeline.actions import ScheduleName
from runtime.pipeline.schedule_csv import COLUMNS, HEADER, dump, load
from runtime.pipeline.schedules import build


@pytest.mark.parametrize(("name", "chunks"), [("gpipe", 1), ("1f1b", 1), ("zb-h1", 1), ("interleaved", 2)])
def test_what_is_dumped_reads_back(name: ScheduleName, chunks: int) -> None:
    schedule = build(name, 3, 7, chunks)
    assert load(dump(schedule)) == schedule


def test_a_line_says_stage_action_micro_batch_and_message() -> None:
    lines = dump(build("zb-h1", 2, 1)).splitlines()
    assert lines[:3] == [",".join(HEADER), "zb-h1,2,1,1,2", ",".join(COLUMNS)]
    assert lines[3:5] == ["0,0,forward,0,0,,,", "0,1,send,0,0,activation,0,1"]
    assert lines[-1] == "1,4,backward_weight,0,0,,,"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: "", "not a schedule"),
        (lambda text: text.replace("1f1b", "2f2b"), "line 2: no schedule is called 2f2b"),
        (lambda text: text.replace("forward,0,", "sideward,0,"), "line 4: 0,0,sideward,0,0,,, is no action"),
        (lambda text: text.replace("0,1,send", "9,1,send"), "line 5"),
    ],
)
def test_a_file_that_is_no_schedule_is_refused_with_its_line(change: object, words: str) -> None:
    assert callable(change)
    with pytest.raises(ValueError, match=words):
        load(change(dump(build("1f1b", 2, 1))))
