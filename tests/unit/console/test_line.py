"""A line whose far end is no run: it hangs up in the middle, says nothing, or is left while it is dialled."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from console.client.line import Line, NoWay
from console.client.ssh_target import Ssh, SshTarget

GUARD_SECONDS = 120.0
FRAME = r"printf '\0\0\0\4\0\0\0\0\0'"
"""What a gRPC server says first: an empty SETTINGS frame."""


def with_line(script: str, work: Callable[[Line], Awaitable[None]]) -> None:
    """A line over a shell instead of ssh."""

    async def whole() -> None:
        with tempfile.TemporaryDirectory(prefix="mlxd-") as folder:
            line = Line(SshTarget("lab"), Ssh(("sh", "-c", script)), Path(folder))
            try:
                async with asyncio.timeout(GUARD_SECONDS):
                    await work(line)
            finally:
                await line.close()
            assert not line.is_up
            assert os.listdir(folder) == []

    asyncio.run(whole())


def test_a_far_end_that_hangs_up_before_it_says_who_it_is_is_a_diagnosis() -> None:
    async def dialled(line: Line) -> None:
        with pytest.raises(NoWay) as none:
            await line.where()
        assert none.value.diagnosis == line.trouble
        assert none.value.diagnosis.step == "run"
        assert line.pid == 0

    with_line(FRAME, dialled)


def test_who_leaves_while_ssh_is_being_dialled_leaves_no_ssh_behind() -> None:
    async def left(line: Line) -> None:
        task = asyncio.create_task(line.where())
        for _ in range(3):
            await asyncio.sleep(0)
        assert line.dialled == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert line.transcript[0].startswith("$ sh -c")

    with_line("exec cat", left)
