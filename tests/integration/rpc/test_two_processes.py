"""Real processes: what the death of one means to the other, and how long a round trip takes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import trio

from runtime.errors import PeerLost
from runtime.rpc import GrpcNetwork, Service, StreamMethod
from tests.integration.rpc.peer import ECHO, echo

ROOT = Path(__file__).resolve().parents[3]
HANG_SECONDS = 60.0


@contextmanager
def peer(role: str, address: str) -> Iterator[subprocess.Popen[str]]:
    """A process of peer.py, killed at the end."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'proto'}"}
    command = [sys.executable, "-P", "-m", "tests.integration.rpc.peer", role, address]
    with subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


async def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    with trio.fail_after(HANG_SECONDS):
        line: str = await trio.to_thread.run_sync(process.stdout.readline, abandon_on_cancel=True)
    return line.strip()


@pytest.mark.slow
@pytest.mark.parametrize("listen", ["127.0.0.1:0", "unix:{folder}/s"])
async def test_a_killed_server_is_lost_to_its_callers_at_once(listen: str) -> None:
    with TemporaryDirectory(dir="/tmp") as folder, peer("serve", listen.format(folder=folder)) as process:
        address = await line_of(process)
        async with GrpcNetwork.open() as network, network.connect(address, name="survivor") as channel:
            async with channel.stream(ECHO, bytes) as stream:
                await stream.send(b"hello")
                assert await stream.receive() == b"hello"
                process.kill()
                with trio.fail_after(HANG_SECONDS), pytest.raises(PeerLost):
                    await stream.receive()
            with trio.fail_after(HANG_SECONDS), pytest.raises(PeerLost):
                await channel.unary(ECHO, b"", bytes)


@pytest.mark.slow
async def test_a_killed_caller_cancels_its_handler(capfd: pytest.CaptureFixture[str]) -> None:
    seen: list[str] = []
    ended = trio.Event()

    async def watched(stream: object, call: object) -> None:
        seen.append("began")
        try:
            await echo(stream, call)  # type: ignore[arg-type]  # the shape of a handler
        finally:
            seen.append("ended")
            ended.set()

    async with GrpcNetwork.open() as network:
        services = [Service("test.Peer", {"Echo": StreamMethod(bytes, watched)})]
        async with network.serve(services, "127.0.0.1:0", name="server") as server:
            with peer("hold", server.address) as process:
                assert await line_of(process) == "open"
                process.kill()
                with trio.fail_after(HANG_SECONDS):
                    await ended.wait()
    assert seen == ["began", "ended"]
    capfd.readouterr()


@pytest.mark.slow
async def test_a_server_that_stops_is_lost_to_a_caller_in_another_process() -> None:
    services = [Service("test.Peer", {"Echo": StreamMethod(bytes, echo)})]
    async with GrpcNetwork.open() as network:
        async with AsyncExitStack() as serving:
            server = await serving.enter_async_context(network.serve(services, "127.0.0.1:0", name="server"))
            with peer("hold", server.address) as process:
                assert await line_of(process) == "open"
                await serving.aclose()
                assert await line_of(process) == "lost"


@pytest.mark.slow
def test_the_library_starts_with_its_fork_handlers_off_and_a_child_by_exec_is_silent() -> None:
    script = (
        "import os, subprocess, sys, trio\n"
        "from runtime.rpc import GrpcNetwork\n"
        "async def main():\n"
        "    async with GrpcNetwork.open() as network, network.serve([], '127.0.0.1:0', name='s'):\n"
        "        await trio.run_process([sys.executable, '-c', ''])\n"
        "trio.run(main)\n"
        "print(os.environ['GRPC_ENABLE_FORK_SUPPORT'])\n"
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GRPC_")}
    environment["PYTHONPATH"] = f"{ROOT}{os.pathsep}{ROOT / 'proto'}"
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "0", "")


@pytest.mark.opt_in
async def test_round_trip_between_two_processes(capsys: pytest.CaptureFixture[str]) -> None:
    """Prints the figures; the bar is a median below 600 microseconds on a quiet machine."""
    with peer("serve", "127.0.0.1:0") as server, peer("measure", await line_of(server)) as client:
        figures = [await line_of(client) for _ in range(3)]
    with capsys.disabled():
        for figure in figures:
            print(f"\nround trip of 400 bytes, microseconds, p50 p90 p99: {figure}", end="")
    assert len(figures) == 3
