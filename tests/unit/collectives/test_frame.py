"""Headers, hellos and addresses survive the wire, and nonsense is told from them."""

from __future__ import annotations

import pytest

from runtime.collectives.codec import WireDtype
from runtime.collectives.exchange import Phase
from runtime.collectives.frame import HEADER_BYTES, HELLO_BYTES, Address, Header, Hello, run_hash
from runtime.errors import ProtocolError
from runtime.ids import Generation, Rank, RunId, Step

HEADER = Header(
    Phase.ALL_GATHER, WireDtype.BFLOAT16, Generation(3), Step(2**40), run_hash(RunId("demo")), 10**12, 7, 15, 10**11, 9
)
HELLO = Hello(run_hash(RunId("demo")), Rank(3), 2**64 - 1, 5)


def test_a_header_is_sixty_four_bytes_and_comes_back_as_it_was() -> None:
    packed = HEADER.pack(slot=5)
    assert len(packed) == HEADER_BYTES
    assert Header.unpack(packed + b"payload") == (HEADER, 5)
    assert HEADER.payload_bytes == 18
    assert HEADER.key == (3, 2 * 2**40 + 1)


@pytest.mark.parametrize("place", [0, 4, 5])
def test_a_header_with_a_wrong_mark_phase_or_type_is_refused(place: int) -> None:
    packed = bytearray(HEADER.pack())
    packed[place] = 99
    with pytest.raises(ProtocolError, match="not of mlx-distributed"):
        Header.unpack(packed)


def test_a_short_message_is_refused() -> None:
    with pytest.raises(ProtocolError, match="shorter than its header"):
        Header.unpack(b"short")


def test_a_hello_comes_back_and_must_mean_this_peer() -> None:
    assert Hello.unpack(HELLO.pack()) == HELLO
    assert HELLO.check(HELLO.run, 5) == HELLO
    for run, session in ((HELLO.run + 1, 5), (HELLO.run, 6)):
        with pytest.raises(ProtocolError, match="means another peer"):
            HELLO.check(run, session)


@pytest.mark.parametrize("data", [b"", b"x" * HELLO_BYTES])
def test_a_stranger_is_no_peer(data: bytes) -> None:
    with pytest.raises(ProtocolError, match="not a peer"):
        Hello.unpack(data)


def test_an_address_reads_back_and_a_malformed_one_is_refused() -> None:
    address = Address("[::1]:4711", 0xAB)
    assert str(address) == "[::1]:4711#00000000000000ab"
    assert Address.parse(str(address)) == address
    for text in ("host:1", "#12", "host:1#xyz"):
        with pytest.raises(ValueError, match=r"not the address|invalid literal"):
            Address.parse(text)


def test_runs_have_different_hashes() -> None:
    assert run_hash(RunId("a")) != run_hash(RunId("b"))
