"""Direct messages over real lanes: both kinds, deaths, and changes of the membership."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import numpy as np
import pytest

from runtime.collectives.direct import Tag
from runtime.collectives.point_to_point import PointToPoint
from runtime.collectives.reduction import RankLost
from runtime.errors import Aborted, RunError
from runtime.ids import Generation, Rank, Step
from tests.integration.collectives.group import GUARD_SECONDS, RUN

A, B = Rank(0), Rank(1)
BYTES = np.random.default_rng(0).integers(0, 256, 100_000, dtype=np.uint8)


def tag(number: int, generation: int = 1) -> Tag:
    return Tag(Generation(generation), Step(1), 0, number)


@contextmanager
def two_ports(*, shared_memory: bool = True) -> Iterator[tuple[PointToPoint, PointToPoint]]:
    """Two ports that know each other as generation 1."""
    with ExitStack() as stack:
        first, second = (
            PointToPoint.open("127.0.0.1:0", RUN, rank, shared_memory=shared_memory, message_bytes=1 << 12)
            for rank in (A, B)
        )
        stack.callback(second.close)
        stack.callback(first.close)
        adopt(1, first, second)
        yield first, second


def adopt(generation: int, *ports: PointToPoint) -> None:
    for port in ports:
        port.set_members(Generation(generation), {each.rank: each.address for each in ports})


@pytest.mark.parametrize("shared_memory", [True, False], ids=["shared memory", "grpc"])
def test_both_sides_send_ahead_and_receive_every_byte(shared_memory: bool) -> None:
    with two_ports(shared_memory=shared_memory) as ports, ThreadPoolExecutor(2) as pool:

        def talk(index: int) -> list[bytes]:
            port, peer = ports[index], ports[1 - index].rank
            got = []
            for number in range(6):
                data = np.roll(BYTES, number + index)
                port.send(peer, tag(number), data, capacity=2, within_seconds=GUARD_SECONDS)
                if number:
                    got.append(port.receive(peer, tag(number - 1), within_seconds=GUARD_SECONDS).tobytes())
            return got

        results = list(pool.map(talk, range(2)))
        for index, result in enumerate(results):
            assert result == [np.roll(BYTES, number + 1 - index).tobytes() for number in range(5)]
        assert [port.lanes for port in ports] == [
            {ports[1 - index].rank: "shared memory" if shared_memory else "grpc"} for index in range(2)
        ]


def test_whoever_waits_for_a_peer_that_closes_is_told() -> None:
    with two_ports() as (first, second), ThreadPoolExecutor(1) as pool:
        second.send(A, tag(0), BYTES, capacity=2, within_seconds=GUARD_SECONDS)
        assert first.receive(B, tag(0), within_seconds=GUARD_SECONDS).size == BYTES.size
        waiting = pool.submit(first.receive, B, tag(1), within_seconds=GUARD_SECONDS)
        second.close()
        with pytest.raises(RankLost, match="rank 1 is gone"):
            waiting.result(GUARD_SECONDS)


def test_a_new_generation_ends_what_waits_and_keeps_the_lanes() -> None:
    with two_ports() as (first, second), ThreadPoolExecutor(1) as pool:
        first.send(B, tag(0), BYTES, capacity=2, within_seconds=GUARD_SECONDS)
        second.receive(A, tag(0), within_seconds=GUARD_SECONDS)
        lane = first._port.lanes[B]
        waiting = pool.submit(second.receive, A, tag(1), within_seconds=GUARD_SECONDS)
        adopt(2, first, second)
        with pytest.raises(Aborted):
            waiting.result(GUARD_SECONDS)
        first.send(B, tag(1, generation=2), BYTES, capacity=2, within_seconds=GUARD_SECONDS)
        assert second.receive(A, tag(1, generation=2), within_seconds=GUARD_SECONDS).size == BYTES.size
        assert first._port.lanes[B] is lane
        first.set_members(Generation(3), {A: first.address})
        assert first.lanes == {}


def test_an_abort_ends_what_waits_and_the_deadline_what_never_comes() -> None:
    with two_ports() as (first, second), ThreadPoolExecutor(1) as pool:
        with pytest.raises(RankLost, match="rank 1 sent nothing in 0 s"):
            first.receive(B, tag(0), within_seconds=0)
        waiting = pool.submit(second.receive, A, tag(1), within_seconds=GUARD_SECONDS)
        second.abort(Generation(1))
        with pytest.raises(Aborted):
            waiting.result(GUARD_SECONDS)


def test_a_port_in_use_is_said_to_be_so() -> None:
    with two_ports() as (first, _):
        taken = first.address.partition("#")[0]
        with pytest.raises(RunError, match="in use by another process"):
            PointToPoint.open(taken, RUN, Rank(2))
