"""The agent on another machine: tied to the run that called it, and nothing without one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from runtime.actors import Beat, FrameDecoder, Order, Report, encode
from runtime.actors.frames import FrameError
from runtime.actors.outbox import Outbox
from runtime.app.node import GONE, SILENT_SECONDS, Node, exit_code, prepare
from runtime.app.words import ALIVE, BEGIN, NODE
from runtime.config.load import load_config
from runtime.config.save import dumps
from runtime.config.schema import Config
from runtime.errors import ConfigError, ProtocolError


class Home:
    """The run's end of an agent's pipes."""

    def __init__(self) -> None:
        self.orders, theirs = trio.testing.memory_stream_one_way_pair()
        self.frames, out = os.pipe()
        self.node = Node(theirs, Outbox(out), "10.0.0.2")

    async def order(self, kind: str, **body: object) -> None:
        await self.orders.send_all(encode(Order(kind, body)))


@pytest.fixture
def home() -> Iterator[Home]:
    home = Home()
    yield home
    home.node._out.close()
    os.close(home.frames)


async def test_an_agent_says_who_it_is_and_goes_when_the_run_hangs_up(home: Home) -> None:
    await home.orders.aclose()
    assert await home.node.serve() == GONE
    (said,) = FrameDecoder().feed(os.read(home.frames, 1 << 16))
    assert isinstance(said, Report)
    assert (said.kind, said.body["address"], said.body["pid"]) == (NODE, "10.0.0.2", os.getpid())


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


def test_the_worker_listens_where_the_run_reaches_this_machine(tmp_path: Path) -> None:
    config = Config.model_validate({"cluster": {"listen": "192.168.1.5:0", "env": {"A": "b"}}})
    assert prepare(tmp_path, dumps(config), "10.0.0.2") == {"A": "b"}
    assert load_config(tmp_path / "config.toml").cluster.listen == "10.0.0.2:0"
    assert (tmp_path / "data").is_dir()


def test_a_worker_that_was_killed_is_said_to_be(capsys: pytest.CaptureFixture[str]) -> None:
    assert (exit_code(0), exit_code(78), exit_code(-9)) == (0, 78, 137)
    assert "killed by SIGKILL" in capsys.readouterr().err
