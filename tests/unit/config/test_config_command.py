from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from console.cli.main import main
from runtime.config.save import template
from runtime.config.schema import Config

GOOD = "[optim]\nlr = 1e-3\n"
BAD = "[optim]\nlr = 0\nlearning_rat = 1\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.toml").write_text(GOOD, encoding="utf-8")
    (tmp_path / "bad.toml").write_text(BAD, encoding="utf-8")
    return tmp_path


def test_check_says_that_nothing_is_wrong(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "check", "good.toml"]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("good.toml: nothing wrong (1 values set, ")
    assert printed.err == ""


def test_check_prints_every_problem_and_how_many_there_are(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "check", "bad.toml"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == [
        "bad.toml:2 optim.lr: must be a number > 0 and <= 10, got 0",
        "bad.toml:3 optim.learning_rat: unknown key; did you mean optim.lr?",
        "bad.toml: 2 problems, nothing was started",
    ]


def test_check_reads_overrides(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "check", "good.toml", "--set", "optim.lr=0", "--set", "train.steps=5"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "--set optim.lr: must be a number > 0 and <= 10, got 0",
        "good.toml: 1 problem, nothing was started",
    ]


def test_check_as_json_lists_the_problems_on_stdout(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "check", "bad.toml", "--json"]) == 2
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"] is False
    assert answer["problems"][1] == {
        "place": "bad.toml:3 optim.learning_rat",
        "fact": "unknown key",
        "fix": "did you mean optim.lr?",
    }
    assert main(["config", "check", "good.toml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"path": "good.toml", "ok": True, "problems": []}


def test_show_prints_every_value_with_its_origin(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "show", "good.toml", "--set", "train.steps=5"]) == 0
    printed = capsys.readouterr()
    lines = {" ".join(line.split()) for line in printed.out.splitlines()}
    assert "lr = 0.001 # good.toml:2" in lines
    assert "steps = 5 # --set" in lines
    assert "epochs = 0.0 # --set" in lines
    assert "seed = 0 # default" in lines
    assert Config.model_validate(tomllib.loads(printed.out)).optim.lr == 1e-3


def test_show_as_json_has_the_values_and_their_origins(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "show", "good.toml", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["config"]["optim"]["lr"] == 1e-3
    assert answer["config"]["checkpoint"]["async"] is True
    assert answer["origins"]["optim.lr"] == "good.toml:2"
    assert answer["origins"]["optim.eps"] == "default"


def test_show_refuses_what_check_refuses(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "show", "bad.toml"]) == 2
    assert capsys.readouterr().err.endswith("bad.toml: 2 problems, nothing was started\n")


def test_new_writes_the_template_and_says_what_is_next(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "new"]) == 0
    printed = capsys.readouterr()
    assert printed.out == "config.toml\n"
    assert "mlx-distributed config check config.toml" in printed.err
    assert (folder / "config.toml").read_text(encoding="utf-8") == template()


def test_new_never_overwrites(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "new", "good.toml"]) == 2
    assert capsys.readouterr().err == "error: good.toml is already there and stays as it is; name another file\n"
    assert (folder / "good.toml").read_text(encoding="utf-8") == GOOD


def test_new_says_why_it_cannot_write(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "new", "missing/config.toml"]) == 2
    assert capsys.readouterr().err == "error: missing/config.toml cannot be written: No such file or directory\n"


def test_without_a_subcommand_the_three_are_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config"]) == 2
    assert "check|show|new" in capsys.readouterr().err


def test_the_command_is_imported_without_the_configuration() -> None:
    code = "import sys, console.cli.commands.config; print(sorted({'pydantic', 'tomli_w', 'trio'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
