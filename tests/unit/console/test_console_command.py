"""What `mlx-distributed console` makes of its words, before there is a screen."""

from __future__ import annotations

from pathlib import Path

import pytest

from console.cli.commands.console import owns, replay_of, target_of
from console.cli.targets import done, seen
from runtime.errors import RunFolderError, UsageError
from tests.unit.console.seats import written
from tests.unit.view.told import begun


def test_a_run_belongs_to_whoever_owns_its_folder(tmp_path: Path) -> None:
    assert owns(tmp_path)
    assert not owns(tmp_path / "nothing")


def test_only_a_run_is_replayed(tmp_path: Path) -> None:
    run = written(tmp_path / "tiny", begun())
    assert replay_of(run).folder == run
    with pytest.raises(UsageError, match="it has no events"):
        replay_of(tmp_path)


def test_a_target_is_a_run_or_a_machine(tmp_path: Path) -> None:
    assert target_of("ssh://lab-m4", operate=False).folder is None
    for place, words in ((str(tmp_path), "is no run"), ("ssh://-oProxyCommand=x", "-oProxyCommand")):
        with pytest.raises(UsageError, match=words):
            target_of(place, operate=False)


def test_a_machine_that_cannot_be_reached_and_a_socket_that_is_not_there_are_sentences(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLXD_SSH", "sh -c 'echo no route to host >&2; exit 255'")
    with pytest.raises(RunFolderError, match="lab"):
        done(seen("ssh://lab"))
    with pytest.raises(RunFolderError, match="there is no such socket"):
        done(seen("unix:/nowhere/at/all"))
    with pytest.raises(UsageError, match="cannot begin with a dash"):
        done(seen("ssh://-x"))
