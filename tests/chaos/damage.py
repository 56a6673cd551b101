"""What can befall a folder of checkpoints, one case each, and what a resumed run must make of it.

Every folder holds steps 1, 2 and 3, and LATEST names the third. Each case says which one must be loaded and how many
things must be said to be broken.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from runtime.checkpoint.hashing import digest_of
from runtime.checkpoint.layout import LATEST_NAME, folder_name, quarantine, write_latest
from runtime.checkpoint.manifest import MANIFEST_NAME
from runtime.ids import Step
from tests.integration.checkpoint.crash_lab import save_in_shares, save_whole, snapshot

STEPS = (1, 2, 3)
NEWEST = Step(STEPS[-1])


@dataclass(frozen=True)
class Damage:
    """`do` harms a folder; then step `newest` must be loaded (None: there is none) with `rejected` things said."""

    do: Callable[[Path], None]
    newest: int | None = NEWEST
    rejected: int = 0
    refused: bool = False
    """A person must act: nothing is loaded and nothing is moved."""


def good_folder(root: Path, *, shares: bool) -> None:
    """Steps 1 to 3, the newest of them in one share or in three, the one before it the other way."""
    for step in STEPS:
        save = save_in_shares if (step % 2 == NEWEST % 2) == shares else save_whole
        save(snapshot(step), root)


def newest(root: Path) -> Path:
    """The folder of the newest checkpoint."""
    return root / folder_name(NEWEST)


def each_file_cut(root: Path) -> None:
    """Truncate every file of the newest checkpoint to its half, as a power cut without a sync would."""
    for path in newest(root).iterdir():
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def last_byte_missing(root: Path) -> None:
    """One byte less at the end of one file."""
    path = max(newest(root).glob("optimizer*"))
    path.write_bytes(path.read_bytes()[:-1])


def zeros(root: Path) -> None:
    """A file of the right length with nothing in it: blocks that never reached the disk."""
    path = min(newest(root).glob("parameters*"))
    path.write_bytes(bytes(path.stat().st_size))


def renamed_half(root: Path) -> None:
    """A crash between the two renames of a replacement: the old one was moved aside, the new one never came."""
    newest(root).rename(root / f"{folder_name(NEWEST)}.replaced")


def unfinished(root: Path) -> None:
    """A draft of a newer step that was never finished, whatever it holds."""
    shutil.copytree(newest(root), root / "step-00000004.7-1.tmp")


def half_removed(root: Path) -> None:
    """Retention died in the middle of deleting the newest one: it was to go, and goes."""
    newest(root).rename(root / f"{folder_name(NEWEST)}.removed")


def another_name(root: Path) -> None:
    """Somebody renamed a checkpoint."""
    newest(root).rename(root / folder_name(Step(9)))


def foreign_files(root: Path) -> None:
    """Things that are nobody's."""
    (root / "notes.txt").write_text("step-00000099")
    (root / "step-xyz").mkdir()
    (newest(root) / ".DS_Store").write_bytes(b"\0")
    (newest(root) / "extra.safetensors").write_bytes(b"not mentioned anywhere")


def a_file_for_a_folder(root: Path) -> None:
    """A file that is called like a newer checkpoint."""
    (root / folder_name(Step(8))).write_text("?")


def swapped(root: Path) -> None:
    """A file of an older checkpoint in the place of the newest one's."""
    name = "parameters.safetensors"
    older, place = root / folder_name(Step(2)) / name, newest(root) / name
    if older.exists():  # the newest one was written in shares, the one before it was not
        place = min(newest(root).glob("parameters*"))
    else:
        older = min((root / folder_name(Step(2))).glob("parameters*"))
    shutil.copyfile(older, place)


def latest_gone(root: Path) -> None:
    """No LATEST."""
    (root / LATEST_NAME).unlink()


def latest_empty(root: Path) -> None:
    """LATEST was created and never written."""
    (root / LATEST_NAME).write_bytes(b"")


def latest_of_the_future(root: Path) -> None:
    """LATEST names a checkpoint that somebody deleted."""
    write_latest(root, Step(7))


def latest_in_quarantine(root: Path) -> None:
    """LATEST still names one that was set aside."""
    quarantine(newest(root), "a test")


def two_broken(root: Path) -> None:
    """The newest two."""
    for step in STEPS[1:]:
        (root / folder_name(Step(step)) / MANIFEST_NAME).unlink()


def all_broken(root: Path) -> None:
    """Every one."""
    for step in STEPS:
        (root / folder_name(Step(step)) / MANIFEST_NAME).write_text("{}")


def of_a_newer_program(root: Path) -> None:
    """Sound, of format version 2: to pass it over would lose what a newer program saved."""
    path = newest(root) / MANIFEST_NAME
    fields = json.loads(path.read_text())
    del fields["manifest_hash"]
    body = json.dumps(fields | {"format_version": 2}, indent=1, ensure_ascii=False).removesuffix("\n}").encode()
    path.write_bytes(body + f',\n "manifest_hash": "{digest_of(body)}"\n}}\n'.encode())


DAMAGES: Mapping[str, Damage] = {
    "each file cut to its half": Damage(each_file_cut, 2, 1),
    "one byte missing": Damage(last_byte_missing, 2, 1),
    "a file of zeros": Damage(zeros, 2, 1),
    "a file of another checkpoint": Damage(swapped, 2, 1),
    "half-renamed": Damage(renamed_half),
    "unfinished": Damage(unfinished),
    "half-removed": Damage(half_removed, 2, 1),  # LATEST names what is not there any more, and that is said
    "under another name": Damage(another_name, 2, 2),  # LATEST, which is left behind, is the second
    "foreign files": Damage(foreign_files),
    "a file where a folder should be": Damage(a_file_for_a_folder, 3, 1),
    "LATEST missing": Damage(latest_gone),
    "LATEST empty": Damage(latest_empty, 3, 1),
    "LATEST of the future": Damage(latest_of_the_future, 3, 1),
    "LATEST in quarantine": Damage(latest_in_quarantine, 2, 1),
    "two broken": Damage(two_broken, 1, 2),
    "all broken": Damage(all_broken, None, 3),
    "of a newer program": Damage(of_a_newer_program, None, 0, refused=True),
}
