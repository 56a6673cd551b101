"""Runs behind a real sshd: seen, kept over the death of ssh, steered or not, and every way to fail."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import socket
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
import trio
from mlxd_wire import control_pb2 as control
from mlxd_wire import monitor_pb2 as pb

from console.client.line import Line, NoWay
from console.client.preflight import preflight
from console.client.ssh_target import Ssh, SshTarget
from console.client.stream import RunStream
from console.client.wire import Unreachable, connected
from runtime import events as facts
from runtime.app.root import Root
from runtime.events import Envelope
from runtime.events.fold import is_notable
from runtime.events.replay import JournalReader
from runtime.ids import ActorPath
from tests.integration.app.test_control import command, served
from tests.support.sshd import COMMAND, Server, needs_sshd, new_key, sshd

pytestmark = needs_sshd
GUARD_SECONDS = 300.0
T = TypeVar("T")


@pytest.fixture
def place() -> Iterator[Path]:
    """Short: the path of a socket may have about a hundred bytes."""
    with tempfile.TemporaryDirectory(prefix="mlxd-") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server that takes its own key, and password of nobody."""
    with tempfile.TemporaryDirectory(prefix="mlxd-") as folder, sshd(Path(folder) / "sshd") as server:
        yield server


def line_to(server: Server, place: Path, run: str = "", *, operate: bool = False, **options: str) -> Line:
    ssh = Ssh(server.client(**options), COMMAND, operate)
    return Line(SshTarget("127.0.0.1", port=server.port, run=run), ssh, place)


async def in_asyncio(work: Callable[[], Awaitable[T]]) -> T:
    """Run the console's side in a thread with a loop of its own, and the run goes on meanwhile."""

    async def guarded() -> T:
        async with asyncio.timeout(GUARD_SECONDS):
            return await work()

    return await trio.to_thread.run_sync(partial(asyncio.run, guarded()))


@asynccontextmanager
async def a_run(folder: Path) -> AsyncIterator[Root]:
    await trio.Path(folder).mkdir()
    async with served(folder, GUARD_SECONDS) as root:
        yield root


def happen(root: Root, *, times: int, word: str) -> None:
    """Facts of a run that does something."""
    for number in range(times):
        root.bus.publish(facts.Warned(f"{word}-{number}", "told"), ActorPath("run"))


def notable(folder: Path) -> list[Envelope]:
    return [each for each in JournalReader(folder / "events.jsonl") if is_notable(each)]


def told(folder: Path) -> list[Envelope]:
    """What a console hears that leaves before anybody acts."""
    return [each for each in notable(folder) if not isinstance(each.event, facts.AlarmAcknowledged)]


async def listened(stream: RunStream, line: Line, kill_at: str, until: str, then: Callable[[], None]) -> None:
    """Listen until a fact about `until`; when one about `kill_at` came, ssh is killed and `then` is called."""
    done = asyncio.Event()

    def heard(picture: object, fresh: list[Envelope]) -> None:
        places = {each.event.place for each in fresh if isinstance(each.event, facts.Warned)}
        if kill_at in places:
            assert line.pid
            os.kill(line.pid, signal.SIGKILL)
            then()
        if until in places:
            done.set()

    task = asyncio.create_task(stream.run(heard))
    await done.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_two_runs_of_two_servers_are_heard_at_once_and_a_killed_ssh_heals_without_a_lost_or_doubled_event(
    server: Server, place: Path
) -> None:
    with sshd(place / "other") as other:
        async with a_run(place / "one") as one, a_run(place / "two") as two:
            lines = [
                line_to(server, place, str(place / "one"), operate=True), line_to(other, place, str(place / "two")),
            ]  # fmt: skip
            streams = [RunStream(line.where, pb.Want(events=True, metrics=["*"], max_hz=10.0)) for line in lines]
            happen(one, times=50, word="before")
            happen(two, times=50, word="before")
            token = trio.lowlevel.current_trio_token()

            def more() -> None:
                for root in (one, two):
                    token.run_sync_soon(partial(happen, root, times=50, word="after"))

            async def console() -> list[bool]:
                first = listened(streams[0], lines[0], "before-49", "after-49", more)
                second = listened(streams[1], lines[1], "nothing", "after-49", more)
                await asyncio.gather(first, second)
                return [await may_act(line) for line in lines]

            acts = await in_asyncio(lambda: closing_all(lines, console))
            for stream, folder in zip(streams, ("one", "two"), strict=True):
                assert list(stream.picture.events) == told(place / folder)
                assert (stream.picture.dropped, stream.picture.view.run.step) == (0, 4)
            assert (streams[0].connections, lines[0].dialled) == (2, 2)
            assert (streams[1].connections, lines[1].dialled) == (1, 1), "one ssh carries stream and calls"
            assert acts == [True, False]
            stamped = [each.event for each in notable(place / "one") if isinstance(each.event, facts.AlarmAcknowledged)]
            assert stamped == [facts.AlarmAcknowledged("worker 1", "kim@laptop via ssh from 127.0.0.1")]
            assert not any(isinstance(each.event, facts.AlarmAcknowledged) for each in notable(place / "two"))


async def may_act(line: Line) -> bool:
    """Try to see an alarm, whatever the greeting said."""
    async with connected(await line.where()) as connection:
        action = control.Action(kind="acknowledge", subject="worker 1", by="kim@laptop")
        try:
            ticket = await connection.ask("/mlxd.Control/Propose", action, control.Ticket, within_seconds=60)
            commit = control.CommitRequest(id=ticket.id)
            reply = await connection.ask("/mlxd.Control/Commit", commit, control.CommitReply, within_seconds=60)
        except Unreachable as refused:
            assert line.greeting is not None
            return "this bridge is read-only" not in str(refused) or line.greeting.may_act
        return bool(reply.done)


async def closing_all(lines: list[Line], work: Callable[[], Awaitable[T]]) -> T:
    try:
        return await work()
    finally:
        for line in lines:
            await line.close()


async def test_a_forced_command_that_is_read_only_is_not_talked_out_of_it(server: Server, place: Path) -> None:
    async with a_run(place / "run"):
        server.allow(f'restrict,command="{COMMAND} dial-stdio --read-only"')
        line = line_to(server, place, str(place / "run"), operate=True)
        try:
            assert not await in_asyncio(lambda: closing_all([line], lambda: may_act(line)))
        finally:
            server.allow()


async def test_a_way_that_is_free_is_checked_in_ten_steps_and_commands_take_it(
    server: Server, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_run(place / "run"):
        line = line_to(server, place, str(place / "run"), operate=True)
        found = await in_asyncio(lambda: closing_all([line], lambda: preflight(line)))
        monkeypatch.setenv("MLXD_SSH", shlex.join(server.client()))
        monkeypatch.setenv("MLXD_REMOTE_COMMAND", COMMAND)
        place_over_there = f"ssh://127.0.0.1:{server.port}{place}/run"
        assert await command("status", place_over_there) == 0
        assert await command("alarms", place_over_there, "--json") == 0
    assert "loss 1.5000, 0.25 s a step" in capsys.readouterr().out
    assert [(check.number, check.outcome) for check in found] == [(number, "ok") for number in range(1, 11)]
    told = {check.step: check.sentence for check in found}
    assert told["run"] == str(place / "run")
    assert told["access"] == "the run may be changed from here"
    assert told["version"].startswith("mlx-distributed 0")


def unknown_host_key(server: Server, place: Path) -> Line:
    return Line(at(server), Ssh(server.client("unknown", known=False), COMMAND), place)


def changed_host_key(server: Server, place: Path) -> Line:
    ssh = Ssh(server.client("changed"), COMMAND)
    key = new_key(place / "another").with_suffix(".pub").read_text()
    (server.folder / "changed.hosts").write_text(f"[127.0.0.1]:{server.port} {key}")
    return Line(at(server), ssh, place)


def wrong_key(server: Server, place: Path) -> Line:
    return Line(at(server), Ssh(server.client("wrong", IdentityFile=str(new_key(place / "stranger"))), COMMAND), place)


def open_key(server: Server, place: Path) -> Line:
    key = new_key(place / "open")
    key.chmod(0o644)
    server.allow(key=key)
    return Line(at(server), Ssh(server.client("opened", IdentityFile=str(key)), COMMAND), place)


def unknown_host(server: Server, place: Path) -> Line:
    return Line(SshTarget("no-such-host.invalid"), Ssh(server.client(), COMMAND), place)


def port_closed(server: Server, place: Path) -> Line:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    return Line(SshTarget("127.0.0.1", port=port), Ssh(server.client(), COMMAND), place)


def with_command(command: str) -> Callable[[Server, Path], Line]:
    return lambda server, place: Line(at(server), Ssh(server.client(), command), place)


def not_executable(server: Server, place: Path) -> Line:
    return with_command(str(server.folder / "host"))(server, place)


def no_run(server: Server, place: Path) -> Line:
    return line_to(server, place, str(place / "nothing"))


def run_is_over(server: Server, place: Path) -> Line:
    (place / "events.jsonl").touch()
    return line_to(server, place, str(place))


def forced_otherwise(server: Server, place: Path) -> Line:
    server.allow('command="echo Backups only >&2; exit 3"')
    return line_to(server, place)


def bad_configuration(server: Server, place: Path) -> Line:
    return Line(at(server), Ssh(server.client("bad", Nonsense="yes"), COMMAND), place)


def no_ssh(server: Server, place: Path) -> Line:
    return Line(at(server), Ssh(("no-such-ssh",), COMMAND), place)


def at(server: Server, run: str = "") -> SshTarget:
    return SshTarget("127.0.0.1", port=server.port, run=run)


@pytest.mark.parametrize(
    ("spoil", "step", "sentence"),
    [
        (no_ssh, "ssh", "there is no no-such-ssh on this machine"),
        (bad_configuration, "ssh", "ssh does not accept its own configuration: "),
        (unknown_host, "name", "the host no-such-host.invalid is not known here"),
        (port_closed, "connect", "answers, and no sshd listens on that port"),
        (unknown_host_key, "host key", "is not known yet"),
        (changed_host_key, "host key", "shows another host key than the one that is known"),
        (wrong_key, "login", "took no key of yours (publickey)"),
        (open_key, "login", "others can read it"),
        (with_command("mlx-nowhere"), "command", "finds no mlx-nowhere"),
        (not_executable, "command", "cannot be executed"),
        (with_command("echo Welcome to lab; sleep 60; true"), "command", "prints 'Welcome to lab' before the bridge"),
        (forced_otherwise, "command", "ended with code 3: Backups only"),
        (no_run, "run", "is no run: it has no events.jsonl"),
        (run_is_over, "run", "is not running on this machine"),
    ],
)
async def test_every_broken_way_says_where_it_ends_and_what_mends_it(
    server: Server, place: Path, spoil: Callable[[Server, Path], Line], step: str, sentence: str
) -> None:
    server.allow()
    line = spoil(server, place)
    found = await in_asyncio(lambda: closing_all([line], lambda: preflight(line)))
    (failed,) = [check for check in found if check.outcome == "fail"]
    assert (failed.step, sentence in failed.sentence) == (step, True), failed.text
    assert failed.fix
    assert all(check.outcome == "skip" for check in found if check.number > failed.number)


@pytest.mark.parametrize(
    ("options", "step", "sentence", "asks"),
    [
        ({"PasswordAuthentication": "yes", "AuthorizedKeysFile": "none"}, "login", "wants a password", True),
        ({"MaxSessions": "0"}, "login", "opens no session", False),
    ],
)
async def test_a_server_that_lets_nobody_in_is_understood(
    place: Path, options: dict[str, str], step: str, sentence: str, asks: bool
) -> None:
    with sshd(place / "sshd", **options) as server:
        line = line_to(server, place)
        with pytest.raises(NoWay) as none:
            await in_asyncio(lambda: closing_all([line], line.where))
    found = none.value.diagnosis
    assert (found.step, sentence in found.sentence, found.asks) == (step, True, asks)
    assert line.trouble == found


async def test_who_hangs_up_at_once_is_no_sshd_or_has_too_many_beginners(server: Server, place: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as rude:

        def hang_up() -> None:
            rude.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        line = Line(SshTarget("127.0.0.1", port=rude.getsockname()[1]), Ssh(server.client(), COMMAND), place)
        with pytest.raises(NoWay, match="hangs up before it says who it is"):
            await in_asyncio(lambda: closing_all([line], line.where))
        await trio.to_thread.run_sync(thread.join)
