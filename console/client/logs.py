"""The newest log lines of a run, kept up to date while somebody looks: from its folder here, or from its monitor.

Nobody reads ten thousand lines a second: of more than a screen can follow the newest are kept, and it is said how many
were passed over.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from mlxd_wire import monitor_pb2 as pb

from console.client.stream import Where, log_batches
from console.client.wire import Unreachable
from runtime.view.logfiles import MOST_BYTES, LogFiles
from runtime.view.logs import LogLine, Wanted

LOOK_SECONDS = 0.5
MOST_LINES = 5000
FIRST_LINES = 500
MOST_AT_ONCE = 500
RETRY_SECONDS = 2.0


class Logs(Protocol):
    """Who knows the lines."""

    lines: deque[LogLine]
    version: int
    """Grows with every line."""
    skipped: int
    """Lines or pieces that were passed over, because there were too many at once."""
    trouble: str

    async def run(self) -> None:
        """Keep the lines up to date until cancelled; call it again to go on."""


class _Kept:
    def __init__(self) -> None:
        self.lines: deque[LogLine] = deque(maxlen=MOST_LINES)
        self.version = 0
        self.skipped = 0
        self.trouble = ""

    def keep(self, fresh: Iterable[LogLine]) -> None:
        """Put lines at the end."""
        before = len(self.lines), self.version
        for each in fresh:
            self.lines.append(each)
            self.version += 1
        if (len(self.lines), self.version) != before:
            self.trouble = ""


class FolderLogs(_Kept):
    """The files of a run of this machine."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._files: LogFiles | None = None

    async def run(self) -> None:
        """Look again and again."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_SECONDS)

    def look(self) -> None:
        """Take in what is new; where that is more than anybody reads, its end."""
        if self._files is None:
            self._files = LogFiles(self._folder, Wanted())
            self.keep(self._files.begin_with_newest(FIRST_LINES))
        elif self._is_far_behind(self._files):
            self.skipped += 1
            self._files = LogFiles(self._folder, Wanted())
            self.keep(self._files.begin_with_newest(FIRST_LINES))
        else:
            fresh = self._files.fresh()
            self.skipped += len(fresh[:-MOST_AT_ONCE])
            self.keep(fresh[-MOST_AT_ONCE:])

    def _is_far_behind(self, files: LogFiles) -> bool:
        cursor = files.cursor
        paths = (self._folder / "logs" / f"{source}.log" for source in cursor)
        sizes = (path.stat().st_size for path in paths if path.is_file())
        return any(size - read > MOST_BYTES for size, read in zip(sizes, cursor.values(), strict=False))


class StreamedLogs(_Kept):
    """The lines of a run elsewhere, as its monitor tells them; goes on where it was."""

    def __init__(self, where: Where) -> None:
        super().__init__()
        self._where = where
        self._cursor: dict[str, int] = {}

    async def run(self) -> None:
        """Listen, and connect again."""
        want = pb.LogWant(newest=FIRST_LINES, follow=True)
        while True:
            try:
                async for batch in log_batches(await self._where(), want, self._cursor):
                    self.take(batch)
            except Unreachable as lost:
                self.trouble = str(lost)
            await asyncio.sleep(RETRY_SECONDS)

    def take(self, batch: pb.LogBatch) -> None:
        """Put a message in."""
        self.trouble = ""
        self._cursor = dict(batch.cursor)
        self.skipped += batch.skipped
        self.keep(LogLine(each.source, each.offset, each.text, each.level, each.wall_seconds) for each in batch.entries)
