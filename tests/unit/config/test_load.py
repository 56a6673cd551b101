from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from runtime.config.load import Resolved, load_config, resolve
from runtime.config.schema import Config
from runtime.config.text import syntax_fix
from runtime.errors import ConfigError, UsageError


def resolved(folder: Path, text: str, *overrides: str, name: str = "run.toml") -> Resolved:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return resolve(path, overrides)


def problems(path: Path, overrides: Sequence[str] = ()) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        load_config(path, overrides)
    return [str(problem).removeprefix(f"{path}").removeprefix(": ") for problem in refused.value.problems]


def test_what_the_file_does_not_say_is_the_default(tmp_path: Path) -> None:
    config = resolved(tmp_path, "[optim]\nlr = 1e-3\n").config
    assert config == Config.model_validate({"optim": {"lr": 1e-3}})
    assert config.optim.betas == (0.9, 0.95)


def test_the_renamed_attributes_hold_the_keys_of_the_file(tmp_path: Path) -> None:
    text = "[checkpoint]\nasync = false\n[data.eval]\npath = 'h'\n[eval]\nevery = 5\n[[data.source]]\npath = 'x'\n"
    config = resolved(tmp_path, text).config
    assert not config.checkpoint.asynchronous
    assert config.evaluation.every == 5
    assert config.data.evaluation.path == "h"
    assert [source.path for source in config.data.sources] == ["x"]


def test_steps_alone_turn_the_default_epochs_off(tmp_path: Path) -> None:
    answer = resolved(tmp_path, "[train]\nsteps = 100\n")
    assert (answer.config.train.steps, answer.config.train.epochs) == (100, 0.0)
    assert answer.origins["train.epochs"] == answer.origins["train.steps"]


def test_zero_steps_leave_the_default_epochs_alone(tmp_path: Path) -> None:
    assert resolved(tmp_path, "[train]\nsteps = 0\n").config.train.epochs == 1.0


def test_each_value_tells_where_it_came_from(tmp_path: Path) -> None:
    text = "[optim]\nlr = 1e-3\nname = 'adamw'\n[[data.source]]\npath = 'a'\n[data.source.columns]\noutput = 'answer'\n"
    answer = resolved(tmp_path, text, "optim.lr=2e-3", "model.scratch.rope_theta=5e5")
    file = str(tmp_path / "run.toml")
    assert answer.config.optim.lr == 2e-3
    assert answer.origins["optim.lr"] == "--set"
    assert answer.origins["optim.name"] == f"{file}:3"
    assert answer.origins["optim.eps"] == "default"
    assert answer.origins["data.source[0].path"] == f"{file}:5"
    assert answer.origins["data.source[0].columns.output"] == f"{file}:7"
    assert answer.origins["model.scratch.rope_theta"] == "--set"
    assert answer.origins["schema"] == "default"


def test_a_byte_order_mark_and_carriage_returns_are_read_over(tmp_path: Path) -> None:
    path = tmp_path / "windows.toml"
    path.write_bytes(b"\xef\xbb\xbf[train]\r\nsteps = 7\r\nstepz = 1\r\n")
    assert problems(path) == [":3 train.stepz: unknown key; did you mean train.steps?"]


def test_a_missing_file_is_one_problem_with_a_way_out(tmp_path: Path) -> None:
    path = tmp_path / "missing.toml"
    assert problems(path) == [f"no such file; `mlx-distributed config new {path}` writes a commented one"]


def test_a_folder_is_no_configuration(tmp_path: Path) -> None:
    assert problems(tmp_path) == ["is a folder; name the .toml file inside it"]


def test_a_file_that_the_system_refuses_is_reported_with_its_reason(tmp_path: Path) -> None:
    loop = tmp_path / "loop.toml"
    loop.symlink_to(loop)
    assert problems(loop) == [
        f"cannot be read: {os.strerror(40 if os.name == 'posix' and os.uname().sysname == 'Linux' else 62)}"
    ]


def test_a_bottomless_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "deep.toml"
    path.write_text("a = " + "[" * 100_000, encoding="utf-8")
    assert problems(path) == ["is nested too deeply to be a configuration"]


def test_a_number_of_ten_thousand_digits_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "long.toml"
    path.write_text("[run]\nseed = " + "1" * 10_000, encoding="utf-8")
    (problem,) = problems(path)
    assert problem.startswith("holds a number that cannot be read (")


def test_a_configuration_error_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        load_config(tmp_path / "missing.toml")


def test_a_rule_is_reported_at_the_value_that_was_written(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text("[train]\nglobal_batch_size = 2\n", encoding="utf-8")
    (at_the_other,) = problems(path)
    assert at_the_other.startswith(":2 train.global_batch_size: ")
    (at_the_override,) = problems(path, ["train.micro_batch_size=3"])
    assert at_the_override.startswith("--set train.micro_batch_size: ")


def test_a_rule_waits_until_its_values_are_right(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(
        "[train]\nsteps = 10\nepochs = 'two'\n[optim]\nwarmup_steps = 20\nwarmup_ratio = -1\n", encoding="utf-8"
    )
    assert [problem.split(":")[1] for problem in problems(path)] == [
        "3 train.epochs",
        "5 optim.warmup_steps",
        "6 optim.warmup_ratio",
    ]


def test_a_misspelt_key_does_not_bring_a_second_complaint_about_its_default(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text("[train]\nepochs = 0\nstep = 100\n", encoding="utf-8")
    assert problems(path) == [":3 train.step: unknown key; did you mean train.steps?"]


@pytest.mark.parametrize(
    ("name", "file", "expected"),
    [
        ("", "quickstart.toml", "quickstart"),
        ("", "my run (2).toml", "my-run-2"),
        ("", "---.toml", "run"),
        ("mine", "x.toml", "mine"),
    ],
)
def test_a_run_without_a_name_is_called_like_its_file(tmp_path: Path, name: str, file: str, expected: str) -> None:
    assert resolved(tmp_path, f"[run]\nname = '{name}'\n", name=file).run_name == expected


@pytest.mark.parametrize(
    ("message", "line", "fix"),
    [
        ("Invalid value", "compile = False # c", "write false"),
        ("Invalid value", "path = ~/data.jsonl", 'text needs quotes: path = "~/data.jsonl"'),
        ("Invalid value", "lr = -.5", "write -0.5"),
        ("Invalid value", "lr = 1..2", ""),
        ("Unterminated string (at end of document)", "name = '''x", "close the quotes"),
        (
            "Unescaped '\\' in a string",
            'path = "C:\\data"',
            "in double quotes a backslash is written twice; single quotes take the text as it is",
        ),
    ],
)
def test_what_is_no_toml_gets_a_hint_from_its_line(message: str, line: str, fix: str) -> None:
    assert syntax_fix(message, line) == fix
