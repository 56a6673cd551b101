"""Checkpoints whose bits flip, whose writers die at any byte, or that are harmed as a whole: the newest good one loads.

    python -m tests.chaos.checkpoints --flips 1000 --kills 200
    python -m tests.chaos.checkpoints --flips 1000 --kills 200 --json

A flip hits any bit of any file of the newest checkpoint, or of LATEST: half of them by bytes, half by files, so that
small files get their share. A kill is a real process that the kernel ends when one of its files has reached that byte
(`crash_lab`). `damage` has the other cases. Exit code 0 when everything was noticed and the right one loaded.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

from runtime.checkpoint.hashing import parameter_hash
from runtime.checkpoint.layout import LATEST_NAME, read_latest
from runtime.checkpoint.reader import Rejected, load, newest_good
from runtime.checkpoint.refusals import BrokenCheckpoint, ForeignCheckpoint
from runtime.errors import CheckpointError
from tests.chaos.damage import DAMAGES, NEWEST, Damage, good_folder, newest
from tests.integration.checkpoint import crash_lab

DISK_BYTES = 1 << 20
LAB_SECONDS = 1800


@dataclass
class Tally:
    """Trials of one kind, and what went wrong in them."""

    trials: int = 0
    hit: Counter[str] = field(default_factory=Counter)
    """How often which file was hit, or how a case ended."""
    wrong: list[str] = field(default_factory=list)
    skipped: str = ""

    def judge(self, what: str, faults: list[str]) -> None:
        """Count one trial."""
        self.trials += 1
        self.hit[what] += 1
        self.wrong += [f"{what}: {fault}" for fault in faults]

    def __str__(self) -> str:
        if self.skipped:
            return f"skipped: {self.skipped}"
        head = f"{self.trials} trials, {len(self.wrong)} wrong"
        return "\n".join([head, *(f"    {count:5d}  {what}" for what, count in sorted(self.hit.items())), *self.wrong])


def flips(folder: Path, trials: int, seed: int) -> Tally:
    """One bit of the newest checkpoint or of LATEST, `trials` times, each in a fresh copy."""
    dice, tally = random.Random(seed), Tally()
    for shares in (True, False):
        good = folder / f"good-{shares}"
        good_folder(good, shares=shares)
        files = [*sorted(newest(good).iterdir()), good / LATEST_NAME]
        for _ in range(trials // 2 + (trials % 2 if shares else 0)):
            weights = [path.stat().st_size for path in files] if dice.random() < 0.5 else None
            (path,) = dice.choices(files, weights)
            bit = dice.randrange(8 * path.stat().st_size)
            root = folder / "trial"
            shutil.rmtree(root, ignore_errors=True)
            shutil.copytree(good, root)
            flip(root / path.relative_to(good), bit)
            tally.judge(path.name, _flip_faults(root, in_latest=path.name == LATEST_NAME))
    return tally


def flip(path: Path, bit: int) -> None:
    """Invert one bit of a file."""
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(bytes(content))


def _flip_faults(root: Path, *, in_latest: bool) -> list[str]:
    faults = []
    if not in_latest:
        try:
            load(newest(root))
            faults.append("the damaged one was loaded")
        except BrokenCheckpoint:
            pass
    return faults + _reader_faults(root, Damage(lambda _: None, 3 if in_latest else 2, 1))


def _reader_faults(root: Path, expected: Damage) -> list[str]:
    """What a resumed run would do wrong with this folder."""
    told: list[Rejected] = []
    before = sorted(path.name for path in root.iterdir())
    try:
        good = newest_good(root, on_rejected=told.append)
    except ForeignCheckpoint:
        same = before == sorted(path.name for path in root.iterdir())
        return [] if expected.refused and same else ["refused"]
    faults = [] if len(told) == expected.rejected else [f"{len(told)} things were rejected: {told}"]
    step = None if good is None else good.manifest.step
    if step != expected.newest or expected.refused:
        return [*faults, f"step {step} was loaded"]
    if good is not None:
        if parameter_hash(load(good.folder).parameters) != parameter_hash(
            crash_lab.snapshot(int(step or 0)).parameters
        ):
            faults.append("the state is not what was saved")
        if read_latest(root) != step:
            faults.append("LATEST was not put right")
    moved = [each.moved_to for each in told if each.path.name != LATEST_NAME]
    if not all(place is not None and place.with_name(f"{place.name}.reason.txt").is_file() for place in moved):
        faults.append("a broken one was not set aside with its reason")
    return faults


def damages(folder: Path) -> Tally:
    """Every case of `damage`, with the newest checkpoint in one share and in three."""
    tally = Tally()
    for name, damage in DAMAGES.items():
        for shares in (True, False):
            root = folder / "trial"
            shutil.rmtree(root, ignore_errors=True)
            good_folder(root, shares=shares)
            damage.do(root)
            tally.judge(name, _reader_faults(root, damage))
    return tally


def kills(folder: Path, trials: int, seed: int) -> Tally:
    """Writers that die at random bytes of random files of a new checkpoint."""
    tally = Tally()
    lab = [sys.executable, "-P", str(Path(crash_lab.__file__)), str(folder / "lab"), "bytes", str(seed), str(trials)]
    done = subprocess.run(lab, capture_output=True, text=True, timeout=LAB_SECONDS, check=True)
    first, *findings = map(json.loads, done.stdout.splitlines())
    for found in findings:
        complete = found["file"] == f"{LATEST_NAME}.tmp"  # only the pointer was missing
        faults = ["the writer survived"] if found["survived"] else []
        faults += [f"rejected: {found['rejected']}"] if found["rejected"] else []
        right = found["newest"] == NEWEST if complete else found["hash"] == first["hashes"][1]
        faults += [] if right else [f"step {found['newest']} was loaded"]
        faults += [f"left: {found['names']}"] if any(name.endswith("-1.tmp") for name in found["names"]) else []
        tally.judge(f"{found['file']}{' (three writers)' if found['shares'] else ''}", faults)
    return tally


def full_disk(folder: Path) -> Tally:
    """A file system of 1 MiB on which the next checkpoint does not fit, and then does."""
    disk, tally = folder / "disk", Tally()
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(disk)]
    if os.geteuid() != 0 or not Path("/proc/mounts").exists():
        return Tally(skipped="only root can mount a small file system, and only on Linux")
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        return Tally(skipped=f"no small file system here: {mounted.stderr.strip()}")
    try:
        for name, save in (("one writer", crash_lab.save_whole), ("three writers", crash_lab.save_in_shares)):
            root = disk / name.replace(" ", "-")
            good_folder(root, shares=True)
            faults = []
            try:
                save(crash_lab.snapshot(4, size=400_000), root)
                faults.append("it fitted")
            except CheckpointError as error:
                faults += [] if "the disk is full" in str(error) else [str(error)]
            faults += [] if not list(root.glob("*.tmp")) else ["something was left"]
            faults += _reader_faults(root, Damage(lambda _: None))
            save(crash_lab.snapshot(5), root)
            faults += [] if read_latest(root) == 5 else ["the next one does not fit either"]
            tally.judge(name, faults)
            shutil.rmtree(root)
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
    return tally


def everything(folder: Path, *, flip_trials: int, kill_trials: int, seed: int) -> dict[str, Tally]:
    """All kinds of trials, each in a folder of its own under `folder`."""
    places = {name: folder / name for name in ("flips", "kills", "damages", "full-disk")}
    for place in places.values():
        place.mkdir()
    return {
        "bit flips": flips(places["flips"], flip_trials, seed),
        "writers killed": kills(places["kills"], kill_trials, seed),
        "other damage": damages(places["damages"]),
        "full disk": full_disk(places["full-disk"]),
    }


def memory() -> str | None:
    """A folder where syncing costs nothing, if this machine has one: hundreds of trials wait for no disk."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def main() -> int:
    """Run it, print the report, return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.checkpoints")
    parser.add_argument("--flips", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mlxd-checkpoints-", dir=memory()) as folder:
        found = everything(Path(folder), flip_trials=args.flips, kill_trials=args.kills, seed=args.seed)
    if args.json:
        print(json.dumps({name: asdict(tally) for name, tally in found.items()}, indent=2))
    else:
        for name, tally in found.items():
            print(f"{name}: {tally}")
    return 1 if any(tally.wrong for tally in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
