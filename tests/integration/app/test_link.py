"""One worker on another machine as a process here: what it passes on, and what becomes of every way to fail.

A shell plays ssh and the agent over there; at the end, a real sshd.
"""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest
import trio

from runtime import launch
from runtime.actors import Beat, Fact, Frame, FrameDecoder, Hello, Order, Report, encode
from runtime.actors.spawn import spawn
from runtime.app.exits import CANNOT_START, FAILED
from runtime.app.link import Link
from runtime.app.words import BEGIN, COORDINATOR, NODE
from runtime.cluster.ssh import node_command
from tests.support.sshd import COMMAND, needs_sshd, new_key, sshd
from tests.support.wires import Wires, wires

GUARD_SECONDS = 60.0
HELLO = Report(NODE, {"version": importlib.metadata.version("mlx-distributed"), "host": "lab", "address": "10.0.0.2"})
SAID: list[Frame] = [
    HELLO,
    Hello(7, {"rank": "1"}),
    Beat(3, "compute"),
    Fact({"type": "Warned"}, {"position": {}}),
    Report("equipped", {}),
]


def said_by(folder: Path, *frames: Frame) -> Path:
    path = folder / "frames"
    path.write_bytes(b"".join(map(encode, frames)))
    return path


def link(there: Wires, script: str, *words: object, may_wait: bool = False) -> Link:
    command = ("sh", "-c", script, "sh", *map(str, words))
    return Link(there.parent, "lab", command, Order(BEGIN, {"rank": 1}), may_wait=may_wait, pause_seconds=0.01)


async def ended(link: Link) -> int:
    with trio.fail_after(GUARD_SECONDS):
        return await link.run()


async def test_frames_come_through_and_the_exit_code_is_that_of_the_worker_over_there(tmp_path: Path) -> None:
    with wires() as there:
        code = await ended(link(there, 'cat "$1"; exit 7', said_by(tmp_path, *SAID)))
        told = there.frames()
    assert code == 7
    assert [frame for frame in told if frame in SAID] == SAID[2:]
    assert [frame for frame in told if frame not in SAID] == [Beat(0, "reach lab")]


async def test_an_agent_hears_who_its_worker_is_and_every_order_since(tmp_path: Path) -> None:
    script = 'cat "$1"; exec 1>&-; cat > "$2"'
    with wires() as there:
        calls = link(there, script, said_by(tmp_path, HELLO), tmp_path / "heard")
        for place in ("old", "new"):
            calls._told[COORDINATOR] = Order(COORDINATOR, {"address": place})
        assert await ended(calls) == 0
    heard = [*FrameDecoder().feed((tmp_path / "heard").read_bytes())]
    assert heard[:2] == [Order(BEGIN, {"rank": 1}), Order(COORDINATOR, {"address": "new"})]


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo 'Permission denied (publickey).' >&2; exit 255", "ssh could not come in"),
        ("echo 'mlx-distributed: not found' >&2; exit 127", "cluster.remote_command"),
        ("echo 'Welcome to the lab, and be kind to each other'", "its shell's profile must print nothing"),
        ("exit 3", "exit code 3"),
    ],
)
async def test_a_machine_that_cannot_be_had_at_the_start_ends_the_run_and_says_why(
    script: str, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with wires() as there:
        assert await ended(link(there, script)) == CANNOT_START
    printed = capfd.readouterr().err
    assert words in printed
    assert "error: no node agent answers on lab" in printed


async def test_another_version_over_there_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with wires() as there:
        code = await ended(link(there, 'cat "$1"', said_by(tmp_path, Report(NODE, {"version": "0.0.1"}))))
    assert code == CANNOT_START
    assert "it is version 0.0.1" in capfd.readouterr().err


async def test_there_is_no_ssh(capfd: pytest.CaptureFixture[str]) -> None:
    with wires() as there:
        none = Link(there.parent, "lab", ("/nonexistent/ssh",), Order(BEGIN), may_wait=False)
        assert await ended(none) == CANNOT_START
    assert "/nonexistent/ssh cannot be started" in capfd.readouterr().err


async def test_later_a_machine_that_is_away_is_called_until_it_answers(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    script = 'if mkdir "$2" 2>/dev/null; then exit 255; fi; cat "$1"'
    with wires() as there:
        calls = link(there, script, said_by(tmp_path, HELLO), tmp_path / "called", may_wait=True)
        assert await ended(calls) == 0
    assert "lab cannot be reached (exit code 255 of ssh); it is called again" in capfd.readouterr().err


async def test_a_link_that_breaks_is_a_worker_that_is_lost(tmp_path: Path) -> None:
    with wires() as there:
        assert await ended(link(there, 'cat "$1"; exit 255', said_by(tmp_path, HELLO))) == FAILED


async def test_a_configuration_that_is_none_over_there_is_no_crash_loop(tmp_path: Path) -> None:
    with wires() as there:
        assert await ended(link(there, 'cat "$1"; exit 2', said_by(tmp_path, HELLO))) == CANNOT_START


async def test_a_run_that_ends_does_not_wait_for_a_machine_that_is_away() -> None:
    with wires() as there:
        calls = link(there, "exit 255", may_wait=True)
        there.parent.stopping.set()
        there.parent.orders.seal()
        assert await ended(calls) == 0


async def test_a_link_is_a_child_process_like_any_other(tmp_path: Path) -> None:
    """The one in which root's supervisor sees the worker over there."""
    ssh = tmp_path / "ssh"
    ssh.write_text(f'cat "{said_by(tmp_path, *SAID)}"; echo "$#: $*" > "{tmp_path}/words"; exit 7\n')
    (tmp_path / "config.toml").write_text("[run]\nseed = 3\n")
    words = ("--rank", "1", "--run-folder", str(tmp_path), "--host", "kim@lab:2222", "--remote-command", "mlxd")
    argv = launch.command("runtime.app.link", *words, "--ssh", f"sh {ssh}")
    with trio.fail_after(GUARD_SECONDS):
        child = await spawn(argv, {}, None, 1)
        told = b""
        while chunk := await child.frames.receive_some():
            told += chunk
        assert await child.process.wait() == 7
        await child.close()
    heard = [*FrameDecoder().feed(told)]
    assert isinstance(heard[0], Hello)
    assert (heard[0].pid, heard[0].info) == (child.pid, {"host": "kim@lab:2222", "rank": "1"})
    assert [frame for frame in heard if frame in SAID] == SAID[2:]
    assert (tmp_path / "words").read_text().endswith("-p 2222 -- kim@lab mlxd node\n")


@needs_sshd
async def test_what_a_real_sshd_refuses_is_said_in_its_own_words(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with sshd(tmp_path / "sshd") as server:
        host = f"127.0.0.1:{server.port}"
        stranger = server.client("stranger", IdentityFile=str(new_key(tmp_path / "stranger")))
        ways = [
            (server.client("unknown", known=False), COMMAND, "Host key verification failed"),
            (stranger, COMMAND, "Permission denied (publickey"),
            (server.client("missing"), "/nonexistent/mlx-distributed", "cluster.remote_command says how it is called"),
            (server.client("elsewhere", ProxyCommand="false"), COMMAND, "ssh could not come in"),
        ]
        for ssh, remote, words in ways:
            with wires() as there:
                calls = Link(there.parent, host, node_command(ssh, host, remote), Order(BEGIN), may_wait=False)
                assert await ended(calls) == CANNOT_START
            printed = capfd.readouterr().err
            assert words in printed
            assert f"error: no node agent answers on {host}" in printed
