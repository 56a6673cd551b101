"""Error texts are fixtures: each NAME.toml is refused with exactly what NAME.txt says."""

from __future__ import annotations

from pathlib import Path

import pytest

from console.cli.main import main
from runtime.config.load import load_config
from runtime.errors import ConfigError

BROKEN = Path(__file__).parents[2] / "fixtures" / "broken_configs"
NAMES = sorted(path.stem for path in BROKEN.glob("*.toml"))


def test_every_broken_file_has_its_text_and_there_are_enough_of_them() -> None:
    assert sorted(path.stem for path in BROKEN.glob("*.txt")) == NAMES
    assert len(NAMES) >= 35


@pytest.mark.parametrize("name", NAMES)
def test_a_broken_file_is_refused_with_every_problem_its_line_and_the_likely_fix(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(BROKEN)
    with pytest.raises(ConfigError) as refused:
        load_config(Path(f"{name}.toml"))
    assert f"{refused.value}\n" == (BROKEN / f"{name}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_config_check_prints_the_text_and_answers_2(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(BROKEN)
    assert main(["config", "check", f"{name}.toml"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith((BROKEN / f"{name}.txt").read_text(encoding="utf-8"))
