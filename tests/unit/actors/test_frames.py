"""Frames: any cut, any garbage, any size."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.actors import Beat, Fact, Frame, FrameDecoder, FrameError, Hello, Order, Report, encode
from runtime.actors.frames import MAX_FRAME_BYTES

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(), values, max_size=3),
    max_leaves=4,
)
bodies = st.dictionaries(st.text(), json_values, max_size=4)
frames: st.SearchStrategy[Frame] = st.one_of(
    st.builds(Hello, st.integers(), st.dictionaries(st.text(), st.text(), max_size=3)),
    st.builds(Beat, st.integers(), st.text()),
    st.builds(Fact, bodies),
    st.builds(Report, st.text(), bodies),
    st.builds(Order, st.text(), bodies),
)


def packed(body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + body


@settings(max_examples=40)
@given(st.lists(frames, max_size=4), st.data())
def test_frames_survive_any_cut_of_the_stream(sent: list[Frame], data: st.DataObject) -> None:
    stream = b"".join(map(encode, sent))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=5)))
    decoder = FrameDecoder()
    got = [
        frame
        for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)
        for frame in decoder.feed(stream[start:end])
    ]
    assert got == sent
    assert decoder.pending_bytes == 0


@given(st.binary(max_size=200))
def test_garbage_is_refused_or_waits_for_more_but_never_becomes_a_frame_by_accident(garbage: bytes) -> None:
    decoder = FrameDecoder()
    try:
        got = list(decoder.feed(garbage))
    except FrameError:
        with pytest.raises(FrameError):
            list(decoder.feed(encode(Beat(1, "train"))))
    else:
        assert got == []


def test_a_frame_cut_off_by_a_kill_is_left_over() -> None:
    decoder = FrameDecoder()
    stream = encode(Beat(1, "train")) + encode(Beat(2, "train"))
    assert list(decoder.feed(stream[:-3])) == [Beat(1, "train")]
    assert decoder.pending_bytes == len(encode(Beat(2, "train"))) - 3


def test_good_frames_before_bad_bytes_are_delivered_first() -> None:
    decoder = FrameDecoder()
    stream = decoder.feed(encode(Beat(1, "train")) + packed(b"nonsense") + encode(Beat(2, "train")))
    assert next(stream) == Beat(1, "train")
    with pytest.raises(FrameError, match="not JSON: b'nonsense'"):
        next(stream)


def test_an_announced_size_above_the_limit_is_refused_before_it_is_read() -> None:
    with pytest.raises(FrameError, match=f"{MAX_FRAME_BYTES + 1} bytes was announced"):
        list(FrameDecoder().feed(struct.pack(">I", MAX_FRAME_BYTES + 1)))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([], "not a frame of a known type"),
        ({"t": "shout"}, "not a frame of a known type"),
        ({"t": ["beat"]}, "not a frame of a known type"),
        ({"t": "beat", "step": 1}, "a beat frame with the wrong fields"),
        ({"t": "beat", "step": 1, "phase": "x", "more": 1}, "a beat frame with the wrong fields"),
        ({"t": "beat", "step": True, "phase": "x"}, "a beat frame with the wrong fields"),
        ({"t": "fact", "event": []}, "a fact frame with the wrong fields"),
        ({"t": "hello", "pid": 1, "info": {"rank": 0}}, "info is not text"),
    ],
)
def test_json_that_is_no_frame_is_refused(value: Any, words: str) -> None:
    with pytest.raises(FrameError, match=words):
        list(FrameDecoder().feed(packed(json.dumps(value).encode())))


def test_json_that_is_too_deep_is_refused() -> None:
    with pytest.raises(FrameError, match="not JSON"):
        list(FrameDecoder().feed(packed(b"[" * 200_000)))


def test_what_json_cannot_hold_is_refused_at_the_sender() -> None:
    with pytest.raises(FrameError, match=r"a Fact that is not JSON: .*set"):
        encode(Fact({"ranks": {1, 2}}))


def test_a_frame_above_the_limit_is_refused_at_the_sender() -> None:
    with pytest.raises(FrameError, match=r"a Report of .* bytes; a frame holds 1048576 at most"):
        encode(Report("log", {"text": "x" * MAX_FRAME_BYTES}))
