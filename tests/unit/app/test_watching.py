"""The board, its readers and what a console puts together from their frames: nothing lost, nothing doubled."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from mlxd_wire import monitor_pb2 as pb

from console.client.picture import Picture
from runtime.app.watching.board import _MOST_GONE, Board
from runtime.app.watching.reader import MOST_EVENTS_AT_ONCE, SLOWEST_SECONDS, Reader
from runtime.app.watching.wire import MOST_POINTS, Wish
from runtime.events import Envelope, RunState, Warned
from runtime.events.journal import encode_line
from runtime.ids import ActorPath
from runtime.view.cards import HostCard, RunCard
from runtime.view.codec import Place, encode
from runtime.view.metrics import curve_of
from tests.unit.view.told import after, begun, commit, steps

ALL = pb.Want(events=True, metrics=["*"])
NOTHING = RunState()


def hosts(**loads: float) -> dict[Place, HostCard]:
    return {("hosts", name): HostCard(name, load=load) for name, load in loads.items()}


def line(seq: int) -> bytes:
    return encode_line(Envelope(seq, 1000.0 + seq, ActorPath("run"), Warned("place", f"event {seq}"))).rstrip()


def heard(picture: Picture, reader: Reader, state: RunState = NOTHING) -> pb.Frame:
    frame = reader.next_frame(state, 5.0)
    picture.take(pb.Frame.FromString(frame.SerializeToString()), 1.0, 4.0)
    return frame


def test_the_first_frame_is_whole_and_the_next_ones_hold_what_changed() -> None:
    board, picture = Board(7), Picture()
    board.show(hosts(a=1.0, b=2.0))
    reader = Reader(board, picture.want(ALL))
    assert heard(picture, reader).is_whole
    board.show(hosts(a=1.0, b=3.0))
    frame = heard(picture, reader)
    assert ([row.key for row in frame.rows], frame.is_whole) == (["b"], False)
    board.show(hosts(b=3.0))
    assert [(row.key, row.card) for row in heard(picture, reader).rows] == [("a", b"")]
    assert picture.view.hosts == {"b": HostCard("b", load=3.0)}
    assert not heard(picture, reader).rows
    assert picture.clock_offset_seconds == 1.0


def test_a_reader_gets_the_topics_that_it_wants_and_all_of_a_new_one() -> None:
    board = Board(7)
    board.show({**hosts(a=1.0), ("run", ""): RunCard("quick")})
    reader = Reader(board, pb.Want(topics=["run"]))
    assert [row.topic for row in reader.next_frame(NOTHING, 0.0).rows] == ["run"]
    reader.wants(pb.Want(topics=["hosts"]))
    frame = reader.next_frame(NOTHING, 0.0)
    assert (frame.is_whole, [row.topic for row in frame.rows]) == (True, ["hosts"])


def test_events_are_told_in_order_in_portions_and_only_to_who_wants_them() -> None:
    board = Board(7)
    for seq in range(1, MOST_EVENTS_AT_ONCE + 11):
        board.tell(seq, line(seq))
    picture, reader = Picture(), Reader(board, ALL)
    assert len(heard(picture, reader).events) == MOST_EVENTS_AT_ONCE
    assert len(heard(picture, reader).events) == 10
    assert [envelope.seq for envelope in picture.events] == list(range(1, MOST_EVENTS_AT_ONCE + 11))
    assert not Reader(board, pb.Want()).next_frame(NOTHING, 0.0).events


def test_a_reader_that_comes_too_late_is_told_how_much_it_missed() -> None:
    board, picture = Board(7, most_events=4), Picture()
    board.tell(1, line(1))
    heard(picture, Reader(board, picture.want(ALL)))
    for seq in range(2, 10):
        board.tell(seq, line(seq))
    heard(picture, Reader(board, picture.want(ALL)))
    assert (picture.dropped, [envelope.seq for envelope in picture.events]) == (4, [1, 6, 7, 8, 9])


def test_a_reader_with_rows_that_nobody_remembers_gets_all_of_them() -> None:
    board = Board(7)
    board.show(hosts(a=1.0))
    early = pb.Want(epoch=7, version=board.version)
    board.show({("hosts", str(n)): HostCard(str(n)) for n in range(_MOST_GONE + 5)})
    board.show({})
    assert Reader(board, early).next_frame(NOTHING, 0.0).is_whole
    assert Reader(board, pb.Want(epoch=7, version=99)).next_frame(NOTHING, 0.0).is_whole
    assert Reader(board, pb.Want(epoch=6, version=board.version)).next_frame(NOTHING, 0.0).is_whole


def test_a_slow_reader_is_slowed_and_gets_its_pace_back() -> None:
    reader = Reader(Board(7), pb.Want(max_hz=2.0))
    assert reader.interval_seconds == 0.5
    for _ in range(10):
        reader.took(100.0)
    assert reader.interval_seconds == SLOWEST_SECONDS
    reader.took(SLOWEST_SECONDS / 2)
    assert reader.interval_seconds == SLOWEST_SECONDS
    for _ in range(10):
        reader.took(0.0)
    assert (reader.interval_seconds, reader.heartbeat(9.0).interval_seconds) == (0.5, 0.5)


def test_a_wish_is_bounded() -> None:
    wish = Wish.of(pb.Want(max_hz=1000.0, max_points=10**6))
    assert (wish.interval_seconds, wish.most_points) == (0.1, MOST_POINTS)
    assert (Wish.of(pb.Want()).interval_seconds, Wish.of(pb.Want()).most_points) == (1.0, 512)


def test_curves_come_whole_first_then_by_what_is_new_and_whole_again_after_a_way_back() -> None:
    board, picture = Board(7), Picture()
    reader = Reader(board, pb.Want(metrics=["loss"], max_points=16))
    state = after(begun() + steps(1, 10))
    assert heard(picture, reader, state).pieces[0].is_whole
    state = after(steps(11, 12), state)
    (piece,) = heard(picture, reader, state).pieces
    assert (piece.is_whole, list(piece.steps)) == (False, [10, 11, 12])
    assert not heard(picture, reader, state).pieces
    state = after([commit(5, loss=9.0), *steps(6, 20)], state)
    (piece,) = heard(picture, reader, state).pieces
    assert (piece.is_whole, piece.width, 9.0 in piece.maximum) == (True, 2, True)
    reader.wants(pb.Want(metrics=["grad_norm"]))
    assert [piece.metric for piece in heard(picture, reader, state).pieces] == ["grad_norm"]
    heard_curve, width = picture.curves["loss"], picture.curves["loss"].width
    assert list(heard_curve.buckets.values()) == list(curve_of(state, "loss").coarser())
    assert width == 2


def test_a_frame_that_cannot_be_read_in_part_is_read_in_the_rest() -> None:
    picture = Picture()
    rows = [pb.Row(topic="weather", key="", card=b"{}"), pb.Row(topic="hosts", key="a", card=encode(HostCard("a")))]
    picture.take(pb.Frame(epoch=1, version=1, is_whole=True, rows=rows, events=[b"{", line(3)]), 0.0, 0.0)
    assert (list(picture.view.hosts), [envelope.seq for envelope in picture.events]) == (["a"], [3])


def test_a_heartbeat_of_another_monitor_changes_nothing_that_is_known() -> None:
    picture = Picture()
    picture.take(pb.Frame(epoch=1, version=5, is_whole=True), 0.0, 0.0)
    picture.take(pb.Frame(epoch=2, version=9), 1.0, 0.0)
    assert (picture.epoch, picture.version) == (1, 5)


def test_what_was_not_heard_for_three_seconds_is_stale_and_live_again_with_the_next_frame() -> None:
    picture = Picture()
    assert (picture.liveness(0.0), picture.age_seconds(0.0), picture.has_rows) == ("connecting", None, False)
    picture.take(pb.Frame(epoch=1, is_whole=True), 10.0, 0.0)
    assert [picture.liveness(now) for now in (10.0, 12.9, 13.0)] == ["live", "live", "stale"]
    changes = picture.changes
    picture.take(pb.Frame(epoch=1), 20.0, 0.0)
    assert (picture.liveness(20.0), picture.changes) == ("live", changes)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("show"), st.dictionaries(st.sampled_from("abcd"), st.integers(0, 3))),
            st.tuples(st.just("tell"), st.integers(1, 5)),
            st.tuples(st.sampled_from(["frame", "lost frame", "reconnect", "restart"]), st.just(0)),
        ),
        max_size=60,
    )
)
@settings(max_examples=80, deadline=None)
def test_whatever_breaks_no_event_is_lost_or_doubled_and_the_rows_are_the_newest(
    script: list[tuple[str, object]],
) -> None:
    board, picture, told, shown = Board(1), Picture(), [0], hosts()
    reader = Reader(board, picture.want(ALL))
    for what, value in script:
        if what == "show":
            assert isinstance(value, dict)
            shown = hosts(**value)
            board.show(shown)
        elif what == "tell":
            assert isinstance(value, int)
            told.append(told[-1] + value)  # facts between two events have numbers too
            board.tell(told[-1], line(told[-1]))
        elif what == "frame":
            heard(picture, reader)
        elif what == "lost frame":  # sent, and never arrived: the connection is broken with it
            reader.next_frame(NOTHING, 0.0)
            reader = Reader(board, picture.want(ALL))
        elif what == "reconnect":
            reader = Reader(board, picture.want(ALL))
        else:
            board = Board(board.epoch + 1)
            for seq in told[1:]:
                board.tell(seq, line(seq))
            board.show(shown)
            reader = Reader(board, picture.want(ALL))
    heard(picture, Reader(board, picture.want(ALL)))
    assert [envelope.seq for envelope in picture.events] == told[1:]
    assert picture.view.hosts == {key: card for (_, key), card in shown.items()}
    assert picture.dropped == 0
