"""Writers that die for real, at every place where one can: what was saved is found, always, and nothing is left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.checkpoint.reader import newest_good
from tests.support.waiting import until

LAB = Path(__file__).with_name("crash_lab.py")
GUARD_SECONDS = 300

pytestmark = pytest.mark.slow


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A folder where syncing costs nothing, if this machine has one: hundreds of trials wait for no disk."""
    shared_memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared_memory if os.access(shared_memory, os.W_OK) else tmp_path) as folder:
        yield Path(folder)


def run_lab(folder: Path, *words: str) -> tuple[list[str], list[dict]]:
    """The hashes of the good steps 1 and 2, and the finding of every trial."""
    done = subprocess.run(
        [sys.executable, "-P", str(LAB), str(folder), *words],
        capture_output=True,
        text=True,
        timeout=GUARD_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, *findings = map(json.loads, done.stdout.splitlines())
    return first["hashes"], findings


@pytest.mark.parametrize("trials", [200, pytest.param(3000, marks=pytest.mark.opt_in)])
def test_killed_at_any_byte_the_newest_complete_checkpoint_loads(trials: int, memory: Path) -> None:
    hashes, findings = run_lab(memory, "bytes", "1", str(trials))
    assert len(findings) == trials
    assert not any(found["survived"] for found in findings)
    assert {found["shares"] for found in findings} == {True, False}
    for found in findings:
        complete = found["file"] == "LATEST.tmp"  # nothing was missing but the pointer
        assert found["rejected"] == []
        assert found["newest"] == (3 if complete else 2)
        assert complete or found["hash"] == hashes[1]
        steps = ["step-00000001", "step-00000002", *(["step-00000003"] if complete else []), "step-00000009"]
        assert [name for name in found["names"] if name != "LATEST.tmp"] == ["LATEST", *steps]


@pytest.mark.parametrize("mode", ["calls", "shares"])
def test_killed_at_any_call_the_newest_complete_checkpoint_loads(mode: str, memory: Path) -> None:
    _, findings = run_lab(memory, mode)
    assert findings[-1]["survived"]
    newest = [found["newest"] for found in findings]
    assert newest == sorted(newest), "once it is there, it stays there"
    assert set(newest) == {2, 3}
    for found in findings:
        assert found["rejected"] == []
        steps = ["step-00000001", "step-00000002", *(["step-00000003"] if found["newest"] == 3 else [])]
        assert found["names"] == ["LATEST", *steps, "step-00000009"]


def test_killed_while_it_replaces_a_checkpoint_either_the_old_or_the_new_one_loads(memory: Path) -> None:
    hashes, findings = run_lab(memory, "replace")
    assert findings[-1]["survived"]
    assert {found["newest"] for found in findings} == {2}
    assert [found["rejected"] for found in findings] == [[]] * len(findings)
    old = [found["hash"] == hashes[1] for found in findings]
    assert old == sorted(old, reverse=True), "first the old one, from some call on the new one"
    assert old[0]
    assert not old[-1]
    for found in findings:
        assert found["names"] == [
            "LATEST",
            "step-00000001",
            "step-00000002",
            "step-00000009",
        ]


def drafted_bytes(root: Path) -> int:
    """Bytes in unfinished folders. They grow, or vanish under the eye that looks."""
    total = 0
    for path in root.glob("*.tmp/*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue
    return total


def test_a_large_write_killed_from_outside_leaves_the_one_before(tmp_path: Path) -> None:
    """The same with `kill -9` from another process, after so many bytes were seen on the disk."""
    subprocess.run([sys.executable, "-P", LAB, tmp_path, "write", "1", "1"], check=True, timeout=GUARD_SECONDS)
    for kilobytes in (1, 3_000, 9_000):
        writer = subprocess.Popen([sys.executable, "-P", LAB, tmp_path, "write", "2", "4"])
        try:
            until(
                lambda writer=writer, kilobytes=kilobytes: (
                    writer.poll() is not None or drafted_bytes(tmp_path) >= kilobytes * 1000
                ),
                within_seconds=GUARD_SECONDS,
                what=lambda: f"{drafted_bytes(tmp_path)} bytes were written",
            )
        finally:
            writer.kill()
            writer.wait()
        finished = (tmp_path / "step-00000002").exists()
        good = newest_good(tmp_path, on_rejected=lambda each: pytest.fail(each.reason))
        assert good is not None
        assert good.manifest.step == (2 if finished else 1)
