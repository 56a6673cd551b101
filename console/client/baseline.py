"""Earlier runs to compare with: their curves from their journals."""

from __future__ import annotations

from pathlib import Path

from console.client.folder import RunFolder
from console.client.picture import Picture


def baselines_beside(folder: Path) -> list[Path]:
    """The other runs in the same folder of runs, the newest first."""
    own = folder.resolve()
    try:
        found = [path for path in own.parent.iterdir() if path != own and (path / "events.jsonl").is_file()]
    except OSError:
        return []
    return sorted(found, key=lambda path: (path / "events.jsonl").stat().st_mtime, reverse=True)


def picture_of(folder: Path) -> Picture:
    """All of a run. Raises OSError where its journal cannot be read. Takes as long as reading the journal does."""
    run = RunFolder(folder)
    run.look()
    return run.picture
