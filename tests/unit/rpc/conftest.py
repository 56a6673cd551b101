"""Every test that asks for `network` runs on the real network and on its in-memory twin."""

from __future__ import annotations

from collections.abc import AsyncIterator

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
