"""A program that lets writers of checkpoints die, really, at chosen places; the tests start it and read its findings.

Every trial forks a writer from a folder with good checkpoints of steps 1 and 2. The writer is ended by the kernel: by
SIGXFSZ at an exact byte of one of its files (RLIMIT_FSIZE), or by SIGKILL at the n-th thing that it does to the file
system. Then the parent reads what is left as a resumed run would. One JSON object per trial goes to stdout.

    crash_lab.py FOLDER bytes SEED TRIALS      at random bytes of any file, a state in one share or in three
    crash_lab.py FOLDER calls                  at each call, saving a new step
    crash_lab.py FOLDER shares                 at each call, saving a new step in three shares
    crash_lab.py FOLDER replace                at each call, saving a step that exists
    crash_lab.py FOLDER write STEP MEGABYTES   only writes: for a test that kills it from outside
"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from runtime.checkpoint.draft import Inscription, seal, write_checkpoint, write_share
from runtime.checkpoint.manifest import Provenance
from runtime.checkpoint.reader import newest_good
from runtime.checkpoint.shares import StateSizes, share_out
from runtime.flow import Snapshot
from runtime.ids import Cursor, Generation, Rank, Step

PROVENANCE = Provenance("lab", "llama", "c0ffee", "adamw", Generation(1), (Rank(0),))
TOUCHES = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"}
"""Audit events of everything that a writer does to the file system, but reading folders."""
MOST_CALLS = 200
Save = Callable[[Snapshot, Path], None]


def snapshot(step: int, size: int = 6_000, flavour: float = 0.0) -> Snapshot:
    """A state of a few files' worth of numbers; the flavour tells two of the same step apart."""
    weight = np.full(size, step + flavour, np.float32)
    return Snapshot(
        Step(step), Cursor(step), {"a": weight, "b": weight[: size // 3]}, {"m.a": weight / 2, "v.a": weight / 4}
    )


def save_in_shares(saved: Snapshot, root: Path, count: int = 3) -> None:
    """What several workers do to one folder, one after another."""
    tensors = saved.parameters, saved.optimizer
    sizes = StateSizes(*({name: array.nbytes for name, array in arrays.items()} for arrays in tensors))
    shares = share_out(sizes, count, 1)
    files = [write_share(share.of(saved), root, "1-1", index) for index, share in enumerate(shares)]
    about = Inscription(saved.step, saved.cursor, saved.counters, {}, PROVENANCE)
    seal(root, "1-1", about, tuple(file for entries in files for file in entries))


def save_whole(saved: Snapshot, root: Path) -> None:
    """What one worker does."""
    write_checkpoint(saved, root, PROVENANCE)


def dies_at_byte(name: str, offset: int) -> None:
    """Let the kernel end this process when it has written `offset` bytes to its file `name`, and not in any other."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and arguments[1] == "w":
            limit = offset if Path(str(arguments[0])).name == name else resource.RLIM_INFINITY
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    sys.addaudithook(watch)


def dies_at_call(number: int) -> None:
    """End this process, as `kill -9` would, before the n-th thing that it does to the file system."""
    left = number

    def watch(event: str, _: tuple[object, ...]) -> None:
        nonlocal left
        if event in TOUCHES:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def trial(folder: Path, doom: Callable[[], None], saved: Snapshot, save: Save = save_whole) -> dict[str, object]:
    """One writer's life and death, and what its successor finds; the successor also saves step 9."""
    root = folder / "trial"
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(folder / "good", root)
    pid = os.fork()
    if pid == 0:
        doom()
        save(saved, root)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    rejected: list[str] = []
    good = newest_good(root, on_rejected=lambda each: rejected.append(each.reason))
    write_checkpoint(snapshot(9), root, PROVENANCE)
    return {
        "survived": status == 0,
        "newest": good.manifest.step if good else None,
        "hash": good.manifest.parameter_hash if good else None,
        "rejected": rejected,
        "names": sorted(path.name for path in root.iterdir()),
    }


def at_random_bytes(folder: Path, dice: random.Random, trials: int) -> None:
    """Half of the trials by bytes, so that large files are hit as often as they are large; half by files."""
    files = []
    for save in (save_whole, save_in_shares):
        save(snapshot(3), folder / "measured")
        written = [path for path in (folder / "measured").rglob("*") if path.is_file()]
        names = {path.name: path.stat().st_size for path in written}
        files += [(save, name, size) for name, size in names.items() if name != "LATEST"]
        files.append((save, "LATEST.tmp", names["LATEST"]))
        shutil.rmtree(folder / "measured")
    for _ in range(trials):
        weights = [size for _, _, size in files] if dice.random() < 0.5 else None
        ((save, name, size),) = dice.choices(files, weights)
        offset = dice.randrange(size)
        found = trial(folder, partial(dies_at_byte, name, offset), snapshot(3), save)
        print(json.dumps({"file": name, "offset": offset, "shares": save is save_in_shares, **found}))


def main(folder: Path, mode: str, *numbers: str) -> None:
    """See the module's words."""
    if mode == "write":
        step, megabytes = map(int, numbers)
        write_checkpoint(snapshot(step, megabytes << 18), folder, PROVENANCE)
        return
    hashes = [write_checkpoint(snapshot(step), folder / "good", PROVENANCE).parameter_hash for step in (1, 2)]
    print(json.dumps({"hashes": hashes}))
    if mode == "bytes":
        seed, trials = map(int, numbers)
        at_random_bytes(folder, random.Random(seed), trials)
        return
    save = save_in_shares if mode == "shares" else save_whole
    saved = snapshot(2, flavour=0.5) if mode == "replace" else snapshot(3)
    for number in range(1, MOST_CALLS):
        found = trial(folder, partial(dies_at_call, number), saved, save)
        print(json.dumps(found))
        if found["survived"]:
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
