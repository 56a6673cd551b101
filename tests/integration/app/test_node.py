"""The agent on another machine: tied to the run that called it, and nothing without one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from runtime.actors import Beat, Frame, FrameDecoder, Hello, Order, Report, encode
from runtime.actors.frames import STOP, FrameError
from runtime.actors.outbox import Outbox
from runtime.app.node import GONE, SILENT_SECONDS, Node, exit_code, prepare
from runtime.app.words import ALIVE, BEGIN, COORDINATOR, NODE
from runtime.config.load import load_config
from runtime.config.save import dumps
from runtime.config.schema import Config
from runtime.errors import ConfigError, ProtocolError
from tests.support.processes import children_of
from tests.support.run_process import COMMAND
from tests.support.tiny import write_tiny_config

GUARD_SECONDS = 300.0


class Home:
    """The run's end of an agent's pipes."""

    def __init__(self, silent_seconds: float = SILENT_SECONDS) -> None:
        self.orders, theirs = trio.testing.memory_stream_one_way_pair()
        self.frames, out = os.pipe()
        self.node = Node(theirs, Outbox(out), "127.0.0.1", silent_seconds=silent_seconds)

    async def order(self, kind: str, **body: object) -> None:
        await self.orders.send_all(encode(Order(kind, body)))


@contextmanager
def at_home(silent_seconds: float = SILENT_SECONDS) -> Iterator[Home]:
    home = Home(silent_seconds)
    try:
        yield home
    finally:
        home.node._out.close()
        os.close(home.frames)


@pytest.fixture
def home() -> Iterator[Home]:
    with at_home() as home:
        yield home


async def test_an_agent_says_who_it_is_and_goes_when_the_run_hangs_up(home: Home) -> None:
    await home.orders.aclose()
    assert await home.node.serve() == GONE
    (said,) = FrameDecoder().feed(os.read(home.frames, 1 << 16))
    assert isinstance(said, Report)
    assert (said.kind, said.body["address"], said.body["pid"]) == (NODE, "127.0.0.1", os.getpid())


def test_the_command_is_such_an_agent() -> None:
    env = {name: value for name, value in os.environ.items() if name != "SSH_CONNECTION"}
    agent = subprocess.run(
        [COMMAND, "node"], stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=GUARD_SECONDS, env=env
    )
    (said,) = FrameDecoder().feed(agent.stdout)
    assert isinstance(said, Report)
    assert (agent.returncode, said.kind, said.body["address"]) == (GONE, NODE, "127.0.0.1")


async def test_a_run_that_says_nothing_for_long_is_gone(home: Home, autojump_clock: trio.testing.MockClock) -> None:
    assert await home.node.serve() == GONE
    assert trio.current_time() >= SILENT_SECONDS


async def test_whoever_speaks_must_be_a_run(home: Home) -> None:
    await home.order(ALIVE)
    with pytest.raises(ProtocolError, match="the first order must be begin, not alive"):
        await home.node.serve()


async def test_a_run_sends_orders_only(home: Home) -> None:
    await home.orders.send_all(encode(Beat(1, "compute")))
    with pytest.raises(FrameError, match="not Beat"):
        await home.node.serve()


async def test_a_configuration_that_is_none_here_is_refused_by_name(home: Home) -> None:
    await home.order(BEGIN, rank=1, incarnation=1, config="[train]\nstep = 3\n")
    with pytest.raises(ConfigError, match=r"did you mean train\.steps"):
        await home.node.serve()


async def test_the_worker_of_an_agent_speaks_through_it_and_ends_with_it(tmp_path: Path) -> None:
    config = load_config(write_tiny_config(tmp_path))
    heard: list[Frame] = []
    decoder, codes = FrameDecoder(), list[int]()
    with trio.fail_after(GUARD_SECONDS), at_home(GUARD_SECONDS) as home:  # on a busy machine a worker starts slowly

        async def serve() -> None:
            codes.append(await home.node.serve())

        await home.order(BEGIN, rank=1, incarnation=3, config=dumps(config))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            while not any(isinstance(frame, Hello) for frame in heard):
                await trio.lowlevel.wait_readable(home.frames)
                heard += decoder.feed(os.read(home.frames, 1 << 16))
            await home.order(ALIVE)
            await home.order(COORDINATOR, address="127.0.0.1:9", token="t", run_id="r")  # nobody listens there
            await home.order(STOP)
    assert codes == [0]
    told = [frame for frame in heard if isinstance(frame, Hello)]
    assert told[0].info["rank"] == "1"


async def test_a_worker_does_not_outlive_the_link_of_its_agent(home: Home, tmp_path: Path) -> None:
    await home.order(BEGIN, rank=1, incarnation=1, config=dumps(load_config(write_tiny_config(tmp_path))))
    await home.orders.aclose()
    with trio.fail_after(GUARD_SECONDS):
        assert await home.node.serve() == 137
    assert not [child for child in children_of(os.getpid()) if "runtime.app.worker" in child.command]


def test_the_worker_listens_where_the_run_reaches_this_machine(tmp_path: Path) -> None:
    config = Config.model_validate({"cluster": {"listen": "192.168.1.5:0", "env": {"A": "b"}}})
    assert prepare(tmp_path, dumps(config), "10.0.0.2") == {"A": "b"}
    assert load_config(tmp_path / "config.toml").cluster.listen == "10.0.0.2:0"
    assert (tmp_path / "data").is_dir()


def test_a_worker_that_was_killed_is_said_to_be(capsys: pytest.CaptureFixture[str]) -> None:
    assert (exit_code(0), exit_code(78), exit_code(-9)) == (0, 78, 137)
    assert "killed by SIGKILL" in capsys.readouterr().err
