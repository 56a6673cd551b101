"""Names inside `runs/<name>/checkpoints`, and the moves between them that leave nothing lost when cut anywhere.

step-00000120                  a complete checkpoint
step-00000120.<attempt>.tmp    one being written; of no worth after a crash
step-00000120.replaced         moved aside for a new one of the same step; comes back if that one never arrived
step-00000120.removed          on its way out: renamed before it is deleted, so that no half of it looks like a whole
LATEST                         the newest one's name, digested: for people and scripts; readers walk the folder
quarantine/                    broken ones, each with a sentence in <name>.reason.txt
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from runtime.checkpoint.durable import replace_file, sync_folder, write_file
from runtime.checkpoint.hashing import digest_of
from runtime.checkpoint.refusals import BrokenCheckpoint
from runtime.ids import Step

LATEST_NAME = "LATEST"
QUARANTINE_NAME = "quarantine"
PINNED_NAME = "PINNED"
_STEP = re.compile(r"step-([0-9]{8,})")
_SUFFIX = re.compile(r"(step-[0-9]{8,})(?:\.([A-Za-z0-9_-]+))?\.(tmp|replaced|removed)")
_NUMBERED = re.compile(r"([0-9]+)-([0-9]+)")


def folder_name(step: Step) -> str:
    """`step-00000120`."""
    return f"step-{step:08d}"


def step_of(name: str) -> Step | None:
    """The step of a complete checkpoint's folder name; None for any other name."""
    match = _STEP.fullmatch(name)
    return Step(int(match[1])) if match and folder_name(Step(int(match[1]))) == name else None


def checkpoint_folders(root: Path) -> list[Path]:
    """The folders that claim to be complete checkpoints, newest first. A missing root holds none. Raises OSError."""
    if not root.exists():
        return []
    found = [(step, path) for path in root.iterdir() if (step := step_of(path.name)) is not None]
    return [path for _, path in sorted(found, reverse=True)]


def write_latest(root: Path, step: Step) -> None:
    """Point LATEST at a complete checkpoint, atomically and durably. Raises OSError."""
    name = folder_name(step)
    replace_file(root / LATEST_NAME, f"{name} {digest_of(name.encode())}\n".encode())


def read_latest(root: Path) -> Step | None:
    """The step that LATEST names; None when there is no such file. Raises BrokenCheckpoint if damaged, and OSError."""
    try:
        content = (root / LATEST_NAME).read_bytes()
    except FileNotFoundError:
        return None
    name = content.partition(b" ")[0]
    step = step_of(name.decode("ascii", "replace"))
    if step is None or content != name + f" {digest_of(name)}\n".encode():
        raise BrokenCheckpoint(f"{LATEST_NAME} is damaged")
    return step


def sweep(root: Path, *, older_than: str = "") -> None:
    """Finish what a crash cut short: restore what was moved aside, delete what was unfinished or on its way out.

    At most one checkpoint of a run is being written at a time, by several writers: with `older_than`, the name of its
    attempt (`<generation>-<number>`), that one and its successors stay. Without, only when nobody writes there. What
    cannot be deleted stays and harms nobody. Raises OSError if the rest fails.
    """
    restore(root)
    for path in list(root.iterdir()):
        match = _SUFFIX.fullmatch(path.name)
        if match and not (match[3] == "tmp" and older_than and _number(match[2] or "") >= _number(older_than)):
            shutil.rmtree(path, ignore_errors=True)


def _number(attempt: str) -> tuple[int, int]:
    """Attempts in the order of time; whatever is no number of a run came before all."""
    match = _NUMBERED.fullmatch(attempt)
    return (int(match[1]), int(match[2])) if match else (-1, -1)


def restore(root: Path) -> None:
    """Bring back checkpoints that were moved aside for a replacement that never arrived. Raises OSError."""
    for path in list(root.iterdir()) if root.exists() else []:
        match = _SUFFIX.fullmatch(path.name)
        if match and match[3] == "replaced" and not (root / match[1]).exists():
            path.rename(root / match[1])
            sync_folder(root)


def move_in(tmp: Path, step: Step) -> Path:
    """Give a finished, synced folder its final name; an older checkpoint of the same step makes way. Raises OSError."""
    final = tmp.parent / folder_name(step)
    aside = tmp.parent / f"{final.name}.replaced"
    if final.exists():
        final.rename(aside)
    try:
        tmp.rename(final)
    except OSError:
        restore(final.parent)
        raise
    sync_folder(final.parent)
    if aside.exists():
        shutil.rmtree(aside)
    return final


def remove(folder: Path) -> None:
    """Delete a checkpoint so that no reader ever sees half of it. Raises OSError."""
    going = folder.with_name(f"{folder.name}.removed")
    folder.rename(going)
    sync_folder(folder.parent)
    shutil.rmtree(going)


def quarantine(folder: Path, reason: str) -> Path:
    """Move a broken checkpoint to `quarantine/`, with the reason beside it; returns its new place. Raises OSError."""
    room = folder.parent / QUARANTINE_NAME
    room.mkdir(exist_ok=True)
    place, count = room / folder.name, 1
    while place.exists():
        count += 1
        place = room / f"{folder.name}-{count}"
    folder.rename(place)
    write_file(room / f"{place.name}.reason.txt", f"{reason}\n".encode())
    sync_folder(room)
    sync_folder(folder.parent)
    return place
