"""A child's failure becomes an exit code and one sentence, and the sentence is found again in its output."""

from __future__ import annotations

import subprocess
import sys

import pytest

from runtime.app.exits import DONE, FAILED, OF_OUTCOME, UNRECOVERABLE, explained, explanation
from runtime.errors import DataError, GaveUp, MlxdError, UsageError


def raising(error: Exception) -> int:
    def main() -> None:
        raise error

    return explained(main)


def test_a_main_that_returns_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    assert explained(lambda: None) == DONE
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("error", [DataError("train.jsonl does not exist"), UsageError("train.jsonl does not exist")])
def test_what_no_restart_cures_has_a_code_of_its_own(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    assert raising(error) == UNRECOVERABLE
    assert capsys.readouterr().err == "error: train.jsonl does not exist\n"


def test_another_failure_on_purpose_is_an_ordinary_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert raising(GaveUp("the writer failed three times")) == FAILED
    assert capsys.readouterr().err == "error: the writer failed three times\n"


def test_a_bug_is_not_explained_away() -> None:
    with pytest.raises(ZeroDivisionError):
        raising(ZeroDivisionError("a bug"))
    assert not issubclass(ZeroDivisionError, MlxdError)


CHILD = """
import atexit
from runtime.app.exits import leave
from runtime.errors import DataError

def main():
    print("the last words", end="")
    {ending}

atexit.register(print, "the interpreter was taken apart")
leave(main)
"""


@pytest.mark.parametrize(
    ("ending", "code", "complaint"),
    [("return", DONE, ""), ('raise DataError("no such file")', UNRECOVERABLE, "error: no such file\n")],
)
def test_a_child_leaves_at_once_with_all_that_it_said(ending: str, code: int, complaint: str) -> None:
    command = [sys.executable, "-P", "-c", CHILD.format(ending=ending)]
    child = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (child.returncode, child.stdout, child.stderr) == (code, "the last words", complaint)


@pytest.mark.parametrize(
    ("tail", "sentence"),
    [
        ("error: no data\n", "no data"),
        ("a warning\nerror: first\nerror: the last one counts\n", "the last one counts"),
        ("ValueError: shapes\n", ""),
        ("this is an error: in the middle of a line\n", ""),
        ("", ""),
    ],
)
def test_the_sentence_is_read_from_the_end_of_the_output(tail: str, sentence: str) -> None:
    assert explanation(tail) == sentence


def test_every_outcome_has_its_exit_code() -> None:
    assert OF_OUTCOME == {"done": 0, "failed": 1, "gave_up": 3, "stopped": 130}
