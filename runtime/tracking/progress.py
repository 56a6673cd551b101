"""How far the tracker has come in the journal of a run: a small file in the run folder, replaced as a whole."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

FOLDER_NAME = "tracking"
FILE_NAME = "wandb.json"


@dataclass(frozen=True)
class Progress:
    """The tracker's id of the run, and the last fact that it has taken."""

    id: str
    seq: int = 0


def read_progress(run_folder: Path, new_id: str) -> Progress:
    """Where the tracking of this run stands; when nothing is known, at the beginning of a run called `new_id`."""
    try:
        found = json.loads((run_folder / FOLDER_NAME / FILE_NAME).read_text(encoding="utf-8"))
        return Progress(str(found["id"]), int(found["seq"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Progress(new_id)


def write_progress(run_folder: Path, progress: Progress) -> None:
    """Replace what is known. Raises OSError."""
    folder = run_folder / FOLDER_NAME
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{FILE_NAME}.tmp"
    partial.write_text(json.dumps(asdict(progress)) + "\n", encoding="utf-8")
    partial.replace(folder / FILE_NAME)
