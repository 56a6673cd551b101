"""Messages between two ranks without any lane: what one would carry is handed over by hand."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest

from runtime.collectives.codec import WireDtype
from runtime.collectives.direct import Direct, Tag
from runtime.collectives.exchange import Phase
from runtime.collectives.frame import Header, Hello
from runtime.collectives.reduction import RankLost
from runtime.errors import Aborted, ProtocolError, StaleGeneration
from runtime.ids import Generation, Rank, Step

RUN = 77
A, B = Rank(0), Rank(1)
SESSIONS = {A: 10, B: 11}
GUARD_SECONDS = 60.0
TAG = Tag(Generation(1), Step(5), 0, 3)
DATA = np.arange(10, dtype=np.uint8)


class Pair:
    """Ranks A and B, and a hand that carries."""

    def __init__(self) -> None:
        self.kicked: list[Rank] = []
        self.a, self.b = (Direct(RUN, rank, piece_bytes=4, kick=self.kicked.append) for rank in (A, B))
        for each in (self.a, self.b):
            each.set_members(Generation(1), SESSIONS)

    def carry(self, *, back: bool = False) -> int:
        """Hand over whatever A has for B (or B for A); how many messages there were."""
        source, target, to = (self.b, self.a, A) if back else (self.a, self.b, B)
        count, released = 0, []
        while (outgoing := source.take(to)) is not None:
            header, _ = Header.unpack(outgoing.header.pack())
            payload = np.empty(outgoing.payload_bytes, np.uint8)
            outgoing.write(payload)
            outgoing.done()
            hello = Hello(RUN, source.rank, SESSIONS[source.rank], SESSIONS[to])
            target.deliver(hello, header, payload, lambda: released.append(True))
            count += 1
        assert len(released) == count
        return count

    def send(self, tag: Tag = TAG, within_seconds: float = GUARD_SECONDS, capacity: int = 1) -> None:
        self.a.send(B, tag, DATA, capacity=capacity, within_seconds=within_seconds)

    def receive(self, tag: Tag = TAG, within_seconds: float = GUARD_SECONDS) -> list[int]:
        return self.b.receive(A, tag, within_seconds=within_seconds).tolist()


@pytest.fixture
def pair() -> Pair:
    return Pair()


def in_thread(call: Callable[[], object]) -> Future[object]:
    pool = ThreadPoolExecutor(1)
    future = pool.submit(call)
    pool.shutdown(wait=False)
    return future


def test_a_message_arrives_in_pieces_and_is_handed_out_once(pair: Pair) -> None:
    pair.send()
    assert pair.carry() == 3
    assert pair.receive() == DATA.tolist()
    assert pair.kicked == [B, A]
    with pytest.raises(RankLost, match=r"rank 0 sent nothing in 0 s \(step 5\)"):
        pair.receive(within_seconds=0)


def test_what_was_sent_is_a_copy(pair: Pair) -> None:
    data = DATA.copy()
    pair.a.send(B, TAG, data, capacity=1, within_seconds=GUARD_SECONDS)
    data[:] = 0
    pair.carry()
    assert pair.receive() == DATA.tolist()


def test_an_empty_message_is_a_message(pair: Pair) -> None:
    pair.a.send(B, TAG, DATA[:0], capacity=1, within_seconds=GUARD_SECONDS)
    assert pair.carry() == 1
    assert pair.receive() == []


def test_messages_are_found_by_their_tag_and_not_by_their_order(pair: Pair) -> None:
    other = Tag(Generation(1), Step(5), 1, 3)
    pair.send()
    pair.a.send(B, other, DATA[:2], capacity=1, within_seconds=GUARD_SECONDS)
    pair.carry()
    assert pair.receive(other) == [0, 1]
    assert pair.receive() == DATA.tolist()


def test_a_full_channel_makes_the_sender_wait_until_one_was_taken(pair: Pair) -> None:
    pair.send()
    second = Tag(Generation(1), Step(5), 0, 4)
    with pytest.raises(RankLost, match="rank 1 took nothing in 0 s"):
        pair.send(second, within_seconds=0)
    pair.send(Tag(Generation(1), Step(5), 1, 4), within_seconds=0)  # another channel has room of its own
    waiting = in_thread(lambda: pair.send(second))
    pair.carry()
    pair.receive()
    assert pair.carry(back=True) == 1
    waiting.result(GUARD_SECONDS)


def test_whoever_waits_is_told_when_the_generation_ends(pair: Pair) -> None:
    began = threading.Event()

    def wait() -> object:
        began.set()
        return pair.receive()

    waiting = in_thread(wait)
    began.wait(GUARD_SECONDS)
    pair.b.set_members(Generation(2), SESSIONS)
    with pytest.raises(Aborted, match="generation 1 was aborted"):
        waiting.result(GUARD_SECONDS)


def test_an_aborted_generation_is_refused_and_the_next_one_begins_empty(pair: Pair) -> None:
    pair.send()
    pair.b.abort(Generation(1))
    pair.carry()
    with pytest.raises(Aborted):
        pair.receive()
    with pytest.raises(Aborted):
        pair.b.send(A, TAG, DATA, capacity=1, within_seconds=0)
    pair.a.set_members(Generation(2), SESSIONS)
    pair.b.set_members(Generation(2), SESSIONS)
    new = Tag(Generation(2), Step(5), 0, 3)
    pair.send(new, within_seconds=0)
    pair.carry()
    assert pair.receive(new) == DATA.tolist()


def test_late_messages_of_an_older_generation_and_of_an_older_life_are_dropped(pair: Pair) -> None:
    pair.send()
    pair.b.set_members(Generation(2), {A: 99, B: 11})
    pair.carry()
    pair.a.set_members(Generation(2), {A: 10, B: 11})
    pair.send(Tag(Generation(2), Step(5), 0, 3))
    pair.carry()
    with pytest.raises(RankLost, match="sent nothing"):
        pair.receive(Tag(Generation(2), Step(5), 0, 3), within_seconds=0)


def test_a_message_of_the_next_generation_waits_for_it(pair: Pair) -> None:
    pair.a.set_members(Generation(2), SESSIONS)
    new = Tag(Generation(2), Step(5), 0, 3)
    pair.send(new)
    carrying = in_thread(pair.carry)
    pair.b.set_members(Generation(2), SESSIONS)
    assert carrying.result(GUARD_SECONDS) == 3
    assert pair.receive(new) == DATA.tolist()


def test_nobody_waits_for_a_generation_that_is_not_there_or_for_a_stranger(pair: Pair) -> None:
    with pytest.raises(StaleGeneration, match="rank 0 is no member of generation 2"):
        pair.receive(Tag(Generation(2), Step(5), 0, 3))
    with pytest.raises(StaleGeneration, match="rank 7 is no member"):
        pair.b.receive(Rank(7), TAG, within_seconds=GUARD_SECONDS)
    with pytest.raises(StaleGeneration, match="generation 0 is older than 1"):
        pair.b.set_members(Generation(0), SESSIONS)


def test_a_lost_peer_is_noticed_but_what_came_before_is_handed_out(pair: Pair) -> None:
    hello = Hello(RUN, A, SESSIONS[A], SESSIONS[B])
    pair.b.opened(hello)
    pair.b.opened(hello)
    pair.send()
    pair.carry()
    pair.b.incoming_lost(hello)
    with pytest.raises(RankLost, match="sent nothing"):  # one of its two lanes is still open
        pair.receive(Tag(Generation(1), Step(6), 0, 0), within_seconds=0)
    pair.b.incoming_lost(hello)
    assert pair.receive() == DATA.tolist()
    with pytest.raises(RankLost, match="rank 0 is gone"):
        pair.receive(Tag(Generation(1), Step(6), 0, 0))


def test_the_end_of_the_lane_to_a_peer_loses_it_and_that_to_an_older_life_does_not(pair: Pair) -> None:
    pair.a.outgoing_lost(B, 4)
    pair.send(within_seconds=0)
    pair.a.outgoing_lost(B, SESSIONS[B])
    with pytest.raises(RankLost, match="rank 1 is gone"):
        pair.send()


def test_a_closed_port_refuses_everything(pair: Pair) -> None:
    pair.b.close()
    pair.send()
    pair.carry()
    with pytest.raises(Aborted):
        pair.receive()


@pytest.mark.parametrize(
    ("phase", "elements", "start", "count", "why"),
    [
        (Phase.DIRECT, 4, 2, 4, "more of a message than there is of it"),
        (Phase.ALL_GATHER, 4, 0, 4, "a part of a sum where only direct messages are expected"),
    ],
)
def test_a_message_that_cannot_be_ends_its_lane(
    pair: Pair, phase: Phase, elements: int, start: int, count: int, why: str
) -> None:
    header = Header(phase, WireDtype.RAW, Generation(1), Step(5), RUN, elements, 3, 0, start, count)
    with pytest.raises(ProtocolError, match=why):
        pair.b.deliver(Hello(RUN, A, 10, 11), header, DATA[:count], lambda: None)
