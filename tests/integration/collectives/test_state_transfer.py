"""A newcomer pulls the state from its peers, whatever dies on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from runtime.collectives import fetch_state
from runtime.collectives.frame import Address
from runtime.collectives.lane_grpc import GrpcServer
from runtime.collectives.state import DIGEST_BYTES, StateStore, digest
from runtime.collectives.traffic import Traffic
from runtime.errors import PeerLost, ProtocolError
from runtime.ids import Rank, Step
from tests.integration.collectives.group import gradients, group

STEP = Step(7)
CHUNK_BYTES = 1 << 16


def state() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    return {
        "model.embed": rng.standard_normal((300, 401)).astype(np.float32),
        "m.embed": rng.standard_normal((7, 1, 3)),
        "half": rng.integers(0, 2**16, 70_001).astype(np.uint16),
        "transposed": rng.standard_normal((40, 30)).astype(np.float32).T,
        "empty": np.zeros((0, 4), np.float32),
        "applied_steps": np.array(12, np.int64),
    }


def assert_same(fetched: dict[str, np.ndarray], held: dict[str, np.ndarray]) -> None:
    assert set(fetched) == set(held)
    for name, array in held.items():
        np.testing.assert_array_equal(fetched[name], array)
        assert fetched[name].dtype == array.dtype


@pytest.mark.parametrize("sources", [1, 3])
def test_the_state_arrives_bit_for_bit(sources: int) -> None:
    held = state()
    with group(sources) as peers:
        for peer in peers.peers:
            peer.hold_state(STEP, held)
        assert_same(fetch_state(STEP, [peer.address for peer in peers.peers], CHUNK_BYTES), held)


class Breaking(StateStore):
    """A source that does something else after a few chunks."""

    def __init__(self, good_chunks: int, then: Callable[[bytes], bytes]) -> None:
        super().__init__(0)
        self._left, self._then = good_chunks, then

    def chunk(self, request: bytes) -> bytes:
        self._left -= 1
        return super().chunk(request) if self._left >= 0 else self._then(request)


@contextmanager
def broken_source(good_chunks: int, then: Callable[[bytes], bytes]) -> Iterator[str]:
    """The address of a source that holds the state and breaks after `good_chunks`."""
    store, traffic = Breaking(good_chunks, then), Traffic(0, Rank(9))
    store.hold(STEP, state())
    server = GrpcServer("127.0.0.1:0", traffic, 0, {"Manifest": store.manifest, "Chunk": store.chunk})
    try:
        yield str(Address(f"127.0.0.1:{server.port}", 0))
    finally:
        traffic.close()
        server.close()


def refuse(_: bytes) -> bytes:
    raise ProtocolError("this source has died")


def corrupt(_: bytes) -> bytes:
    return digest(b"something else") + b"x" * CHUNK_BYTES


@pytest.mark.parametrize("then", [refuse, corrupt])
def test_a_source_that_breaks_midway_is_replaced_by_the_others(then: Callable[[bytes], bytes]) -> None:
    held = state()
    with broken_source(2, then) as broken, group(1) as peers:
        peers.peers[0].hold_state(STEP, held)
        assert_same(fetch_state(STEP, [broken, peers.peers[0].address], CHUNK_BYTES), held)
    with broken_source(2, then) as broken, pytest.raises(PeerLost, match=r"died|arrived broken"):
        fetch_state(STEP, [broken], CHUNK_BYTES)


def test_a_step_that_nobody_holds_is_said_to_be_so() -> None:
    with group(2) as peers:
        peers.peers[0].hold_state(STEP, state())
        peers.peers[0].release_state(STEP)
        with pytest.raises(PeerLost, match="the state after step 7 is not held here"):
            fetch_state(STEP, [peer.address for peer in peers.peers])


def test_an_address_of_another_life_gets_nothing() -> None:
    with group(2) as peers:
        peers.peers[0].hold_state(STEP, state())
        target, session = peers.peers[0].address.partition("#")[0], peers.peers[1].address.partition("#")[2]
        with pytest.raises(PeerLost, match="not held here"):
            fetch_state(STEP, [f"{target}#{session}"])


def test_no_source_at_all_is_a_loss() -> None:
    with pytest.raises(PeerLost, match="no peer could give"):
        fetch_state(STEP, [])


def test_sources_that_hold_different_states_are_not_mixed() -> None:
    with group(2) as peers:
        peers.peers[0].hold_state(STEP, state())
        peers.peers[1].hold_state(STEP, {"another": np.zeros(3)})
        with pytest.raises(ProtocolError, match="different states for step 7"):
            fetch_state(STEP, [peer.address for peer in peers.peers])


def test_an_exchange_goes_on_while_the_state_is_served() -> None:
    held, leaves = state(), gradients(300_000)
    with group(2) as peers:
        peers.peers[0].hold_state(STEP, held)
        pulling = peers.run(lambda _: fetch_state(STEP, [peers.peers[0].address], 1 << 10), 0)
        results = [peers.all_reduce(peers.plan([0, 1] * 4, step), leaves)[0].tobytes() for step in range(1, 6)]
        assert_same(pulling.result(), held)
    assert len(set(results)) == 1


def test_a_digest_is_short_and_depends_on_the_bytes() -> None:
    assert len(digest(b"a")) == DIGEST_BYTES
    assert digest(b"a") != digest(b"b")
