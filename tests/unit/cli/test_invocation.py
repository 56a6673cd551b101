"""The border between a command and the shell: one sentence and the right exit code for every kind of end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from console.cli.invocation import Parser, answer, did_you_mean, exit_code_of
from runtime.errors import CheckpointError, ConfigError, GaveUp, MlxdError, Problem, RunFolderError, UsageError


def raising(error: BaseException) -> Callable[[], int]:
    def command() -> int:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("x"), 2),
        (ConfigError([Problem("a.toml:1 run.seed", "not a number")]), 2),
        (GaveUp("x"), 3),
        (RunFolderError("x"), 1),
        (CheckpointError("x"), 1),
        (MlxdError("x"), 1),
    ],
)
def test_the_class_of_an_error_decides_the_exit_code(error: MlxdError, code: int) -> None:
    assert exit_code_of(error) == code


def test_an_error_is_one_sentence_on_stderr_and_nothing_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(raising(RunFolderError("runs/a is in use by process 7"))) == 1
    assert capsys.readouterr() == ("", "error: runs/a is in use by process 7\n")


def test_every_problem_of_a_configuration_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    problems = [
        Problem("a.toml:1 run.sed", "unknown key", "did you mean run.seed?"),
        Problem("a.toml:9 x", "unknown key"),
    ]
    assert answer(raising(ConfigError(problems))) == 2
    assert capsys.readouterr().err == (
        "error: a.toml:1 run.sed: unknown key; did you mean run.seed?\na.toml:9 x: unknown key\n"
    )


def test_what_a_command_returns_is_the_exit_code() -> None:
    assert answer(lambda: 7) == 7


def test_an_interrupt_ends_quietly_with_130(capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(raising(KeyboardInterrupt())) == 130
    assert capsys.readouterr() == ("", "")


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        answer(raising(ZeroDivisionError()))


def test_a_reader_that_goes_away_is_no_reason_for_noise() -> None:
    script = "import sys; from console.cli.invocation import answer; sys.exit(answer(lambda: print('x' * 10**6) or 0))"
    writer = subprocess.Popen([sys.executable, "-P", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert writer.stdout is not None
    writer.stdout.close()
    _, noise = writer.communicate(timeout=60)
    assert (writer.returncode, noise) == (141, b"")


def test_a_mistyped_option_is_refused_with_the_nearest_one() -> None:
    parser = Parser(prog="mlx-distributed run", description="")
    parser.add_argument("--workers")
    with pytest.raises(UsageError) as refused:
        parser.parse_args(["--worker=3"])
    assert str(refused.value) == (
        "unrecognized arguments: --worker=3; did you mean --workers?; see mlx-distributed run --help"
    )


def test_a_missing_argument_is_refused_without_guesses() -> None:
    parser = Parser(prog="mlx-train", description="")
    parser.add_argument("config", metavar="CONFIG")
    with pytest.raises(UsageError, match=r"^the following arguments are required: CONFIG; see mlx-train --help$"):
        parser.parse_args([])


def test_a_guess_is_only_made_when_it_is_near() -> None:
    assert did_you_mean("chekpoints", ["run", "checkpoints"]) == "; did you mean checkpoints?"
    assert did_you_mean("xyzzy", ["run", "checkpoints"]) == ""
