"""A child's failure becomes an exit code and one sentence, and the sentence is found again in its output."""

from __future__ import annotations

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
