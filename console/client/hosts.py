"""Machines over ssh as targets of the console: a line, a feed over it, and what the last check of the way found."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from console.client.feeds import StreamFeed
from console.client.home import HomeOverThere
from console.client.line import Line
from console.client.preflight import Check, preflight
from console.client.ssh_target import Ssh, SshTarget
from console.client.targets import Target


class LineFeed(StreamFeed):
    """A run behind a line; ssh ends with it."""

    def __init__(self, line: Line) -> None:
        super().__init__(line.where)
        self.line = line

    @property
    def trouble(self) -> str:
        """Why nothing comes: what ssh said, in our words; else what the stream says."""
        if not self.stream.trouble:
            return ""
        return f"{self.line.trouble.sentence}; {self.line.trouble.fix}" if self.line.trouble else self.stream.trouble

    async def run(self) -> None:
        """Listen, and connect again, until cancelled."""
        try:
            await super().run()
        finally:
            await self.line.close()


@dataclass
class Remote:
    """What the Hosts screen knows of a machine beside its target."""

    line: Line
    checks: list[Check] = field(default_factory=list)
    is_checking: bool = False
    began_seconds: float = field(default_factory=time.monotonic)

    async def check(self) -> None:
        """Walk the way step by step."""
        self.is_checking = True
        try:
            self.checks = await preflight(self.line)
        finally:
            self.is_checking = False

    @property
    def bytes_per_second(self) -> float:
        """Received, since it was added."""
        return self.line.received_bytes / max(1.0, time.monotonic() - self.began_seconds)


def remote_target(text: str, ssh: Ssh) -> Target:
    """The run that `text` (ssh://...) names, as a target. Raises NotATarget."""
    line = Line(SshTarget.parse(text), ssh)

    async def control() -> str:
        return await line.where()

    operate = " --operate" if ssh.operate else ""
    come_back = f"mlx-distributed console --attach {line.target}{operate}"
    return Target(
        str(line.target),
        LineFeed(line),
        None,
        ssh.operate,
        control,
        where=line.where,
        home=HomeOverThere(line),
        come_back=come_back,
    )


def line_of(target: Target) -> Line | None:
    """The line of a target over ssh; None for a run of this machine."""
    return target.feed.line if isinstance(target.feed, LineFeed) else None
