from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from runtime.checkpoint import durable


@pytest.mark.parametrize("full_sync", [None, fcntl.F_GETFD, 1 << 20], ids=["elsewhere", "macOS", "macOS, network disk"])
def test_a_file_is_synced_by_the_strongest_way_that_its_disk_takes(
    full_sync: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F_FULLFSYNC is macOS only: a harmless command stands for it, and an unknown one for a disk that refuses."""
    monkeypatch.setattr(durable, "_FULL_SYNC", full_sync)
    durable.write_file(tmp_path / "x", b"content")
    assert (tmp_path / "x").read_bytes() == b"content"


def test_replacing_leaves_one_whole_file(tmp_path: Path) -> None:
    for content in (b"old", b"new and longer"):
        durable.replace_file(tmp_path / "x", content)
        assert (tmp_path / "x").read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "the disk is full (2.5 MB needed, "),
        (errno.EDQUOT, "the disk is full"),
        (errno.EROFS, "no right to use /mnt/x (Read-only file system); give this user access"),
        (errno.EFBIG, "`ulimit -f`"),
        (errno.EIO, "input/output error; check it"),
        (errno.EBUSY, os.strerror(errno.EBUSY)),
    ],
)
def test_every_refusal_of_a_disk_is_a_fact_and_a_next_move(code: int, words: str, tmp_path: Path) -> None:
    error = OSError(code, os.strerror(code), "/mnt/x")
    assert words in durable.explain(error, tmp_path, needed_bytes=2_500_000)


def test_the_free_space_of_a_disk_that_is_gone_is_none() -> None:
    error = OSError(errno.ENOSPC, "No space left on device")
    assert "the disk is full (0.0 MB free)" in durable.explain(error, Path("/nowhere/at/all"))


def test_an_error_without_a_number_keeps_its_words(tmp_path: Path) -> None:
    assert durable.explain(OSError("strange"), tmp_path) == "strange"
