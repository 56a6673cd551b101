"""Disks that refuse, for real: full, not ours, too small a limit. One sentence each, and what was saved stays whole."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.checkpoint.draft import write_checkpoint
from runtime.checkpoint.reader import newest_good
from runtime.errors import CheckpointError
from tests.integration.checkpoint.crash_lab import PROVENANCE, snapshot

LAB = Path(__file__).with_name("crash_lab.py")
GUARD_SECONDS = 300
NOBODY = 65534

pytestmark = pytest.mark.slow


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB, where this process may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, timeout=GUARD_SECONDS, check=False)
    except FileNotFoundError:
        pytest.skip("this machine has no mount command")
    if done.returncode:
        pytest.skip(f"only root can mount a small disk: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True, timeout=GUARD_SECONDS)


def assert_only_step_1_is_left(root: Path) -> None:
    good = newest_good(root, on_rejected=lambda each: pytest.fail(each.reason))
    assert good is not None
    assert good.manifest.step == 1
    assert sorted(path.name for path in root.iterdir()) == ["LATEST", "step-00000001"]


def test_a_full_disk_is_one_sentence_and_loses_nothing(small_disk: Path) -> None:
    root = small_disk / "checkpoints"
    write_checkpoint(snapshot(1), root, PROVENANCE)
    with pytest.raises(CheckpointError) as caught:
        write_checkpoint(snapshot(2, size=400_000), root, PROVENANCE)
    sentence = str(caught.value)
    assert "cannot save step 2" in sentence
    assert "the disk is full (5.3 MB needed, 0." in sentence
    assert "free some space or lower checkpoint.keep_last" in sentence
    assert "\n" not in sentence
    assert_only_step_1_is_left(root)
    write_checkpoint(snapshot(3), root, PROVENANCE)


def test_a_limit_on_file_sizes_is_one_sentence_and_loses_nothing(tmp_path: Path) -> None:
    """Without root: RLIMIT_FSIZE refuses the bytes beyond it (Python ignores the signal that comes with it)."""
    write_checkpoint(snapshot(1), tmp_path, PROVENANCE)
    done = refused(f"resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, NO_LIMIT)); save({str(tmp_path)!r})")
    assert "cannot save step 2" in done
    assert "ulimit -f" in done
    assert_only_step_1_is_left(tmp_path)


@pytest.fixture
def foreign_folder() -> Iterator[Path]:
    """A folder with a checkpoint that the child below may read and not write, whoever we are."""
    with tempfile.TemporaryDirectory() as open_to_all:  # pytest's own folders are closed to other users
        os.chmod(open_to_all, 0o755)
        root = Path(open_to_all) / "checkpoints"
        write_checkpoint(snapshot(1), root, PROVENANCE)
        root.chmod(0o555)
        yield root
        root.chmod(0o755)


DROP_ROOT = f"os.geteuid() or os.seteuid({NOBODY}); "


def test_a_folder_without_the_right_to_write_is_one_sentence(foreign_folder: Path) -> None:
    done = refused(f"{DROP_ROOT}save({str(foreign_folder)!r})")
    assert "cannot save step 2" in done
    assert "Permission denied" in done
    assert "give this user access" in done
    assert_only_step_1_is_left(foreign_folder)


def test_a_checkpoint_without_the_right_to_read_is_not_taken_for_broken(foreign_folder: Path) -> None:
    """A wrong owner must not send every good checkpoint to the quarantine and the run back to its beginning."""
    hidden = foreign_folder / "step-00000001" / "parameters.safetensors"
    hidden.chmod(0)
    done = refused(f"{DROP_ROOT}newest_good(Path({str(foreign_folder)!r}), on_rejected=print)")
    hidden.chmod(0o644)
    assert "cannot read" in done
    assert "give this user access" in done
    assert_only_step_1_is_left(foreign_folder)


def refused(statement: str) -> str:
    """Run one statement in a process of its own and return the one sentence with which it was refused."""
    program = f"""
import os, resource, sys
sys.path.insert(0, {str(LAB.parent)!r})
from pathlib import Path
from crash_lab import PROVENANCE, newest_good, snapshot, write_checkpoint
from runtime.errors import CheckpointError

NO_LIMIT = resource.RLIM_INFINITY

def save(root):
    write_checkpoint(snapshot(2), Path(root), PROVENANCE)

try:
    {statement}
except CheckpointError as error:
    print(error, file=sys.stderr)
    sys.exit(7)
finally:  # who measures coverage still has to write
    os.seteuid(os.getuid())
    resource.setrlimit(resource.RLIMIT_FSIZE, (NO_LIMIT, NO_LIMIT))
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, timeout=GUARD_SECONDS, check=False
    )
    assert done.returncode == 7, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr
