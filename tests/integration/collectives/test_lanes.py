"""How lanes are made and refused: strangers, other runs, other lives, other hosts."""

from __future__ import annotations

import os
import secrets
import socket
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest

from runtime.collectives import Peer
from runtime.collectives.codec import WireDtype
from runtime.collectives.exchange import Phase
from runtime.collectives.frame import Address, Header, Hello, run_hash
from runtime.collectives.lane_grpc import HELLO_KEY, SERVICE, channel_to, identity, unary
from runtime.collectives.lane_shm import ShmListener, ShmSender, Slots, memory_file
from runtime.collectives.traffic import Traffic
from runtime.errors import Aborted, RunError
from runtime.ids import Generation, Rank, RunId, Step
from runtime.rpc.library import grpc
from tests.integration.collectives.group import GUARD_SECONDS, RUN, gradients, group
from tests.support.waiting import until

SESSION = secrets.randbits(64)
"""Names a socket of this host: other test processes draw another."""
HASH = run_hash(RunId("lanes"))
HELLO = Hello(HASH, Rank(1), 6, SESSION)


def test_a_listener_with_a_path_removes_it_and_carries_as_well() -> None:
    traffic = Traffic(HASH, Rank(0))
    listener = ShmListener(traffic, SESSION, abstract=False)
    folder = Path(listener.path).parent
    sender = ShmSender(HELLO, Rank(0), Traffic(HASH, Rank(1)), Slots(2, 64))
    sender.connect(listener.path)
    thread = threading.Thread(target=sender.run)
    thread.start()
    sender.kick()
    sender.close()
    thread.join(GUARD_SECONDS)
    sender.dispose()
    traffic.close()
    listener.close()
    assert not folder.exists()
    assert not thread.is_alive()


@pytest.mark.parametrize("hello", [Hello(HASH + 1, Rank(1), 6, SESSION), Hello(HASH, Rank(1), 6, SESSION + 1)])
def test_a_caller_of_another_run_or_for_another_life_is_refused(hello: Hello) -> None:
    traffic = Traffic(HASH, Rank(0))
    listener = ShmListener(traffic, SESSION)
    sender = ShmSender(hello, Rank(0), traffic, Slots(2, 64))
    try:
        with pytest.raises(OSError, match=r"refused|reset|pipe"):
            sender.connect(listener.path)
    finally:
        sender.dispose()
        traffic.close()
        listener.close()


def closed_by(listener: ShmListener, opening: bytes, descriptors: list[int]) -> bool:
    """Whether the listener ends a connection that begins like this."""
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect(listener.path)
        socket.send_fds(stranger, [opening], descriptors)
        stranger.settimeout(GUARD_SECONDS)
        try:
            return stranger.recv(1) == b""
        except ConnectionResetError:
            return True


def test_less_memory_than_promised_no_memory_and_nonsense_are_refused() -> None:
    traffic = Traffic(HASH, Rank(0))
    listener = ShmListener(traffic, SESSION)
    small = memory_file(64)

    def geometry(count: int) -> bytes:
        return count.to_bytes(4, "little") + (64).to_bytes(4, "little")

    try:
        assert closed_by(listener, HELLO.pack() + geometry(2), [small])
        assert closed_by(listener, HELLO.pack() + geometry(0), [small])
        assert closed_by(listener, HELLO.pack() + geometry(1), [])
        assert closed_by(listener, b"GET / HTTP/1.1", [])
    finally:
        os.close(small)
        traffic.close()
        listener.close()


@pytest.mark.parametrize(("slot", "count"), [(9, 4), (0, 400)])
def test_a_header_that_points_outside_its_memory_ends_the_lane(slot: int, count: int) -> None:
    traffic = Traffic(HASH, Rank(0))
    listener = ShmListener(traffic, SESSION)
    sender = ShmSender(HELLO, Rank(0), traffic, Slots(2, 64))
    sender.connect(listener.path)
    header = Header(Phase.ALL_GATHER, WireDtype.FLOAT32, Generation(1), Step(1), HASH, count, 0, 0, 0, count)
    sender._socket.sendall(header.pack(slot))
    sender.run()
    sender.dispose()
    traffic.close()
    listener.close()
    assert traffic.stats().received_bytes == 0


def test_a_peer_that_offers_a_path_of_another_host_is_reached_by_grpc() -> None:
    leaves = gradients(1_000)
    with group(2) as peers:
        listener = peers.peers[1]._port._listener
        assert listener is not None
        listener.path = "/nowhere/on/this/host"
        results = peers.all_reduce(peers.plan([0, 1] * 4), leaves)
        assert peers.peers[0].lanes == {1: "grpc"}
        assert peers.peers[1].lanes == {0: "shared memory"}
        assert results[0].tobytes() == results[1].tobytes()


def test_a_peer_without_shared_memory_and_one_with_it_meet_on_grpc() -> None:
    with group(1, shared_memory=False) as first:
        other = Peer.open(
            "localhost:0", RUN, Rank(1), message_bytes=1 << 18, bucket_bytes=1 << 20, advertise="127.0.0.1"
        )
        try:
            peers = [first.peers[0], other]
            assert other.address.startswith("127.0.0.1:")
            first.peers.append(other)
            first.adopt([0, 1])
            first.peers.pop()
            plan, leaves = first.plan([0, 1] * 4), gradients(1_000)
            running = first.start(0, plan, leaves)
            first.peers.append(other)
            results = [first.start(1, plan, leaves).result(GUARD_SECONDS), running.result(GUARD_SECONDS)]
            assert [peer.lanes for peer in peers] == [{1: "grpc"}, {0: "grpc"}]
            assert results[0].tobytes() == results[1].tobytes()
        finally:
            other.close()


def test_a_stream_of_a_stranger_and_nonsense_in_a_stream_end_it() -> None:
    with group(1) as peers:
        address = Address.parse(peers.peers[0].address)
        channel = channel_to(address.target)
        try:
            with pytest.raises(grpc.RpcError) as refused:
                unary(channel, "Offer")(b"who is there?")
            assert "not a peer" in str(refused.value)
            call = channel.stream_unary(f"/{SERVICE}/Stream", identity, identity)
            with pytest.raises(grpc.RpcError, match="not a peer"):
                call(iter([]), timeout=GUARD_SECONDS)
            hello = Hello(run_hash(RUN), Rank(1), 6, address.session)
            assert call(iter([b"nonsense"]), metadata=((HELLO_KEY, hello.pack()),), timeout=GUARD_SECONDS) == b""
        finally:
            channel.close()


def test_a_peer_that_accepts_and_never_answers_does_not_hold_up_a_new_membership() -> None:
    with group(2) as peers, socket.socket(socket.AF_UNIX) as frozen:
        frozen.bind(f"\0mlxd-frozen-{SESSION}" if sys.platform == "linux" else tempfile.mktemp(prefix="mlxd-"))
        frozen.listen(1)
        listener = peers.peers[1]._port._listener
        assert listener is not None
        original, listener.path = listener.path, frozen.getsockname()
        if isinstance(listener.path, bytes):
            listener.path = listener.path.decode()
        alone = peers.start(0, peers.plan([0, 1]), gradients(100))
        with frozen.accept()[0]:
            peers.adopt([0])
            assert isinstance(alone.exception(GUARD_SECONDS), Aborted)
            assert peers.peers[0].lanes == {}
        listener.path = original


def test_a_port_in_use_is_said_to_be_so() -> None:
    with group(1) as peers:
        taken = Address.parse(peers.peers[0].address).target
        with pytest.raises(RunError, match="in use by another process"):
            Peer.open(taken, RUN, Rank(1))


def test_lanes_to_members_that_stay_are_kept_and_others_are_closed() -> None:
    leaves = gradients(1_000)
    with group(3) as peers:
        peers.all_reduce(peers.plan([0, 1, 2]), leaves[:3])
        lanes = peers.peers[0]._port.lanes
        peers.adopt([0, 1])
        assert peers.peers[0]._port.lanes == {Rank(1): lanes[Rank(1)]}
        assert not lanes[Rank(2)].alive
        peers.all_reduce(peers.plan([0, 1]), leaves[:2])
        assert peers.peers[0]._port.lanes == {Rank(1): lanes[Rank(1)]}


@pytest.mark.parametrize("shared_memory", [True, False], ids=["shared memory", "grpc"])
def test_a_lane_that_broke_between_two_steps_is_opened_again(shared_memory: bool) -> None:
    leaves = gradients(1_000)
    with group(2, shared_memory=shared_memory) as peers:
        first = peers.all_reduce(peers.plan([0, 1] * 4), leaves)
        broken = peers.peers[0]._port.lanes[Rank(1)]
        broken.close()
        noticed = peers.peers[1]._traffic._incoming
        until(lambda: not any(noticed.values()), within_seconds=GUARD_SECONDS, what=lambda: "still open")
        assert not broken.alive
        again = peers.all_reduce(peers.plan([0, 1] * 4, step=2), leaves)
        assert peers.peers[0]._port.lanes[Rank(1)] is not broken
        np.testing.assert_array_equal(first[0], again[1])


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere each listener has a folder of its own")
def test_two_listeners_of_one_session_cannot_be() -> None:
    traffic = Traffic(HASH, Rank(0))
    listener = ShmListener(traffic, SESSION)
    try:
        with pytest.raises(OSError, match="in use"):
            ShmListener(traffic, SESSION)
    finally:
        traffic.close()
        listener.close()
