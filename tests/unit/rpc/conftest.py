"""Every test that asks for `network` runs on the real network and on its in-memory twin."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from runtime.rpc import GrpcNetwork, Limits, LoopbackNetwork
from tests.unit.rpc.services import Probe

LIMITS = Limits(message_bytes=8 << 20)


@pytest.fixture(params=["grpc", "loopback"])
async def network(request: pytest.FixtureRequest) -> AsyncIterator[GrpcNetwork | LoopbackNetwork]:
    if request.param == "loopback":
        yield LoopbackNetwork(limits=LIMITS)
    else:
        async with GrpcNetwork.open(limits=LIMITS) as real:
            yield real


@pytest.fixture
def probe() -> Probe:
    return Probe()


@pytest.fixture
def socket_folder() -> Iterator[Path]:
    """A folder with a path short enough for unix sockets, which pytest's own need not have."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="mlxd-") as folder:
        yield Path(folder)
