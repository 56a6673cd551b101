"""The table of commands: help, version, spelling, and what `run` and `mlx-train` hand on."""

from __future__ import annotations

from pathlib import Path

import pytest

from console.cli import main, train
from console.cli.configured import overrides_of


def test_help_is_a_result_and_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["--help"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert [name for name in main.COMMANDS if f"\n  {name} " not in out] == []


def test_no_command_is_a_mistake_and_help_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "usage: mlx-distributed COMMAND" in err


def test_the_version_is_the_installed_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("mlx-distributed 0.")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["rnu"], "there is no command rnu; did you mean run?; see mlx-distributed --help"),
        (
            ["chekpoints", "list"],
            "there is no command chekpoints; did you mean checkpoints?; see mlx-distributed --help",
        ),
        (["frobnicate"], "there is no command frobnicate; see mlx-distributed --help"),
        (["--verison"], "there is no option --verison; did you mean --version?; see mlx-distributed --help"),
        (["run"], "the following arguments are required: CONFIG; see mlx-distributed run --help"),
        (
            ["run", "a.toml", "--workers", "two"],
            "argument --workers: invalid int value: 'two'; see mlx-distributed run --help",
        ),
    ],
)
def test_a_wrong_command_line_gets_one_sentence_and_exit_code_2(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(words) == 2
    assert capsys.readouterr() == ("", f"error: {sentence}\n")


def test_a_command_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main.main(["run", "--help"])
    assert left.value.code == 0
    assert "--resume auto|never|PATH" in capsys.readouterr().out


def test_everything_said_about_the_configuration_becomes_an_override() -> None:
    args = train.parser().parse_args(["a.toml", "--set", "run.seed=1", "--workers", "3", "--set", "optim.lr=0.1"])
    assert args.config == Path("a.toml")
    assert overrides_of(args) == ["run.seed=1", "optim.lr=0.1", "parallel.workers=3"]
    assert (args.resume, args.progress) == (None, "auto")
    assert overrides_of(train.parser().parse_args(["a.toml"])) == []


@pytest.mark.parametrize("command", [lambda words: main.main(["run", *words]), train.main], ids=["run", "mlx-train"])
def test_a_configuration_that_is_not_there_is_a_usage_error(
    command: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert callable(command)
    assert command([str(tmp_path / "absent.toml")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert "absent.toml" in err
