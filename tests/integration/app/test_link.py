"""One worker on another machine as a process here: what it passes on, and what becomes of every way to fail.

A shell plays ssh and the agent over there.
"""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest
import trio

from runtime.actors import Beat, Fact, Frame, FrameDecoder, Hello, Order, Report, encode
from runtime.app.exits import CANNOT_START, FAILED
from runtime.app.link import Link
from runtime.app.words import BEGIN, COORDINATOR, NODE
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
