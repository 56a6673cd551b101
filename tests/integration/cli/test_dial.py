"""What ssh starts: dial-stdio with a shell in ssh's place and a live run behind it; and a node agent, by hand."""

from __future__ import annotations

import asyncio
import pty
import shlex
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
from mlxd_wire import control_pb2 as control

from console.cli.main import main
from console.client.commands import PROGRAM
from console.client.line import Line, NoWay
from console.client.ssh_target import Ssh, SshTarget
from console.client.wire import Unreachable, connected
from tests.integration.app.test_control import run_folder, served

__all__ = ["run_folder"]
GUARD_SECONDS = 300.0
SHELL = ("sh", "-c", 'for last; do :; done; exec sh -c "exec $last"', "ssh")
"""Starts what ssh would start over there: its last word."""


def over(run: str, work: Callable[[Line], Awaitable[None]], *, operate: bool) -> None:
    async def whole() -> None:
        with tempfile.TemporaryDirectory(prefix="mlxd-") as folder:
            line = Line(SshTarget("lab", run=run), Ssh(SHELL, shlex.join(PROGRAM), operate), Path(folder))
            try:
                async with asyncio.timeout(GUARD_SECONDS):
                    await work(line)
            finally:
                await line.close()

    asyncio.run(whole())


async def proposal(line: Line) -> control.Ticket:
    async with connected(await line.where()) as connection:
        action = control.Action(kind="acknowledge", subject="worker 1", by="kim")
        return await connection.ask("/mlxd.Control/Propose", action, control.Ticket, within_seconds=GUARD_SECONDS)


def test_an_agent_is_not_for_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    ours, theirs = pty.openpty()
    with open(theirs) as terminal, open(ours):
        monkeypatch.setattr("sys.stdin", terminal)
        assert main(["node"]) == 2
    assert "name this machine in cluster.hosts" in capsys.readouterr().err


async def test_a_bridge_carries_what_is_asked_and_says_by_which_way_it_came(run_folder: Path) -> None:
    async def asked(line: Line) -> None:
        await line.where()
        assert line.greeting is not None
        assert (line.greeting.may_act, line.greeting.folder) == (True, str(run_folder))
        assert (await proposal(line)).id

    async with served(run_folder, guard_seconds=GUARD_SECONDS):
        await trio.to_thread.run_sync(lambda: over(str(run_folder), asked, operate=True))


async def test_a_bridge_that_only_looks_refuses_a_proposal(run_folder: Path) -> None:
    async def asked(line: Line) -> None:
        await line.where()
        assert line.greeting is not None
        assert not line.greeting.may_act
        with pytest.raises(Unreachable, match="read-only"):
            await proposal(line)

    async with served(run_folder, guard_seconds=GUARD_SECONDS):
        await trio.to_thread.run_sync(lambda: over(str(run_folder), asked, operate=False))


def test_where_no_run_lives_the_bridge_ends_with_a_sentence(run_folder: Path) -> None:
    async def asked(line: Line) -> None:
        with pytest.raises(NoWay) as none:
            await line.where()
        assert none.value.diagnosis.step == "run"

    over(str(run_folder), asked, operate=False)
