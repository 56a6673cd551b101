"""A disk that is full when a checkpoint is due: one sentence, and every earlier checkpoint is as it was."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.checkpoint.layout import checkpoint_folders
from runtime.checkpoint.reader import verify
from runtime.events import CheckpointWritten, StepCommitted
from tests.support.run_process import RunProcess
from tests.support.tiny import write_tiny_config
from tests.support.waiting import until

pytestmark = pytest.mark.slow
GUARD_SECONDS = 300.0
DISK_BYTES = 64 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 64 MiB, where the run folder will lie."""
    disk = tmp_path / "runs"
    disk.mkdir()
    if os.geteuid() != 0 or not Path("/proc/mounts").exists():
        pytest.skip("only root can mount a small file system, and only on Linux")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no small file system here: {mounted.stderr.decode().strip()}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def fill(disk: Path) -> Path:
    """Leave no byte free; returns the file that takes them."""
    filler = disk / "somebody-elses-file"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 16))
        except OSError:
            pass
    return filler


def test_a_full_disk_costs_a_sentence_and_no_earlier_checkpoint(small_disk: Path, tmp_path: Path) -> None:
    config = write_tiny_config(tmp_path, steps=100_000, extra={"checkpoint": {"every": 5, "keep_last": 3}})
    with RunProcess(config, tmp_path) as run:
        run.wait_for(CheckpointWritten, lambda event: event.step >= 10, within_seconds=GUARD_SECONDS)
        filler = fill(small_disk)
        sentence = until(lambda: sentences(run), within_seconds=GUARD_SECONDS, what=run.tail)[0]  # the journal is full
        failed_at = int(sentence.split("checkpoint of step ")[1].split()[0])
        assert "the disk is full" in sentence
        assert sentence.endswith("; the earlier ones stand")
        kept = [verify(folder).step for folder in checkpoint_folders(run.run_folder / "checkpoints")]
        assert kept
        assert all(step < failed_at for step in kept)
        filler.unlink()
        run.wait_for(CheckpointWritten, lambda event: event.step > failed_at, within_seconds=GUARD_SECONDS)
        run.signal_root(signal.SIGINT)
        assert run.finish(within_seconds=GUARD_SECONDS) == 130, run.tail()
        last = run.events(StepCommitted)[-1].step
        newest = checkpoint_folders(run.run_folder / "checkpoints")[0]
        assert verify(newest).step == last
        assert len(sentences(run)) == 1, "however many were due meanwhile"


def sentences(run: RunProcess) -> list[str]:
    """What the run has told its user about checkpoints that failed."""
    return [line for line in run.output.read_text().splitlines() if "failed: cannot save" in line]
