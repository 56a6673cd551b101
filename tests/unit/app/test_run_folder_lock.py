from __future__ import annotations

import errno
import fcntl
import json
from pathlib import Path

import pytest

from runtime.app.process_identity import own_identity
from runtime.app.run_lock import LOCK_NAME, RunFolderInUse, RunLock, owner_of
from runtime.errors import RunFolderError


def test_an_owner_without_a_text_is_still_an_owner(tmp_path: Path) -> None:
    lock = RunLock.take(tmp_path, "abc", "mlx-distributed run x.toml")
    (tmp_path / LOCK_NAME).write_text("")
    with pytest.raises(RunFolderInUse, match="in use by another process; wait for it"):
        RunLock.take(tmp_path, "def", "")
    lock.release()


def test_an_owner_on_another_host_is_named_with_it(tmp_path: Path) -> None:
    lock = RunLock.take(tmp_path, "abc", "")
    data = {**own_identity().to_json(), "host": "mac7"}
    (tmp_path / LOCK_NAME).write_text(json.dumps(data))
    with pytest.raises(RunFolderInUse, match=r"in use by process \d+ on mac7; stop it"):
        RunLock.take(tmp_path, "def", "")
    lock.release()


def test_a_file_system_without_locks_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(file: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(
        RunFolderError, match=r"its file system has no locks; set run\.output_dir to a folder on a local disk"
    ):
        RunLock.take(tmp_path, "abc", "")


def test_another_refusal_of_the_lock_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(file: int, how: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(OSError, match="Input/output error"):
        RunLock.take(tmp_path, "abc", "")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"pid": "1", "start_time": 3}', '{"pid": -1, "start_time": "3"}']
)
def test_half_a_text_is_no_owner(tmp_path: Path, text: str) -> None:
    (tmp_path / LOCK_NAME).write_text(text)
    assert owner_of(tmp_path) is None


def test_a_folder_without_a_lock_has_no_owner(tmp_path: Path) -> None:
    assert owner_of(tmp_path) is None


def test_a_reused_process_id_is_not_the_owner(tmp_path: Path) -> None:
    data = {**own_identity().to_json(), "start_time": "12"}
    (tmp_path / LOCK_NAME).write_text(json.dumps(data))
    assert owner_of(tmp_path) is None


def test_another_boot_is_not_the_owner(tmp_path: Path) -> None:
    data = {**own_identity().to_json(), "boot_id": "another"}
    (tmp_path / LOCK_NAME).write_text(json.dumps(data))
    assert owner_of(tmp_path) is None
