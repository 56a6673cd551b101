"""A run by its control socket alone: `console --attach unix:PATH`, where nobody knows the folder."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest
import trio
from mlxd_wire import control_pb2 as pb
from mlxd_wire import monitor_pb2 as log_pb

from console.cli.commands.console import target_of
from console.client.feeds import StreamFeed
from console.client.logs import StreamedLogs
from console.client.stream import log_batches
from console.client.targets import Target
from console.client.wire import Unreachable, connected
from console.screens.logs import logs_of
from runtime.app.control import SOCKET_NAME
from runtime.errors import RunFolderError
from tests.integration.app.test_control import served

GUARD_SECONDS = 300.0


async def in_asyncio(work: Callable[[], Awaitable[None]]) -> None:
    """The console's side in a thread with a loop of its own; the run goes on meanwhile."""

    async def guarded() -> None:
        async with asyncio.timeout(GUARD_SECONDS):
            await work()

    await trio.to_thread.run_sync(partial(asyncio.run, guarded()))


async def seen_and_heard(target: Target) -> None:
    assert isinstance(target.feed, StreamFeed)
    assert isinstance(logs_of(target), StreamedLogs)
    seen = asyncio.Event()
    feed = asyncio.create_task(target.feed.stream.run(lambda picture, _: seen.set() if picture.has_rows else None))
    await seen.wait()
    feed.cancel()
    assert target.where is not None
    async for batch in log_batches(await target.where(), log_pb.LogWant(newest=9, follow=True), {}):
        assert "hello" in batch.entries[0].text
        break
    assert target.home is not None
    listed = await target.home.command("checkpoints", "list", "--json")
    assert (listed.code, listed.out.strip()) == (0, "[]")
    async with connected(await target.control()) as connection:
        status = await connection.ask("/mlxd.Control/Status", pb.StatusRequest(), pb.RunStatus, within_seconds=60.0)
    assert status.step == 4


async def test_a_socket_shows_the_run_its_curves_and_its_logs_and_may_steer_it_where_asked_to() -> None:
    with tempfile.TemporaryDirectory(prefix="mlxd-") as folder:  # short: a socket's path has about a hundred bytes
        run = Path(folder)
        async with served(run, GUARD_SECONDS):
            (run / "logs").mkdir(exist_ok=True)
            (run / "logs" / "worker-0.log").write_text("12:00:00 INFO hello\n")
            place = f"unix:{run / SOCKET_NAME}"
            target = target_of(place, operate=True)
            assert (target.folder, target.may_act) == (None, True)
            assert target.come_back == f"mlx-distributed console --attach {place} --operate"
            await in_asyncio(partial(seen_and_heard, target))
            assert not target_of(place, operate=False).may_act


async def test_a_socket_that_goes_away_is_told_of_and_one_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="there is no such socket"):
        target_of(f"unix:{tmp_path}/control.sock", operate=False)
    (tmp_path / "control.sock").touch()
    target = target_of(f"unix:{tmp_path}/control.sock", operate=False)
    assert target.where is not None
    with pytest.raises(Unreachable):
        await trio.to_thread.run_sync(partial(asyncio.run, _asked(target)))


async def _asked(target: Target) -> None:
    assert target.where is not None
    await target.where()
