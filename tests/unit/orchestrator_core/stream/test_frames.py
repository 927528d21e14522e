"""Cutting a relayed stream into whole events as raw bytes."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_core.errors import Code, DataError
from orchestrator_core.stream.frames import FrameSplitter, payload
from orchestrator_core.stream.sse import SseDecoder


def split(*pieces: bytes, limit_bytes: int = 1 << 20) -> list[bytes]:
    splitter = FrameSplitter(limit_bytes)
    return [frame for piece in pieces for frame in splitter.feed(piece)]


def cut(stream: bytes, cuts: list[int]) -> list[bytes]:
    marks = sorted({0, len(stream), *(at % (len(stream) + 1) for at in cuts)})
    return [stream[a:b] for a, b in itertools.pairwise(marks)]


@pytest.mark.parametrize(
    ("stream", "frames"),
    [
        (b"data: a\n\n", [b"data: a\n\n"]),
        (b"data: a\n\ndata: b\n\n", [b"data: a\n\n", b"data: b\n\n"]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"data: a\r\n\r\n", b"data: b\r\n\r\n"]),
        (b"data: a\n\r\ndata: b\r\n\n", [b"data: a\n\r\n", b"data: b\r\n\n"]),
        (b"id: 1\ndata: a\n\ndata: b", [b"id: 1\ndata: a\n\n"]),
        (b"data: a\n\n\ndata: b\n\n", [b"data: a\n\n", b"\ndata: b\n\n"]),
        (b"\xef\xbb\xbfdata: a\n\n", [b"data: a\n\n"]),
        (b": ping\n\ndata: a\n\n", [b": ping\n\n", b"data: a\n\n"]),
        (b"x", []),
        (b"\n", []),
        (b"", []),
    ],
)
def test_cuts_after_each_blank_line(stream: bytes, frames: list[bytes]) -> None:
    first = b": first\n\n"
    assert split(stream) == frames
    assert split(*(stream[i : i + 1] for i in range(len(stream)))) == frames
    if not stream.startswith(b"\xef"):
        assert split(first, stream) == [first, *frames]


def test_hands_the_same_object_on_when_a_read_is_one_event() -> None:
    splitter = FrameSplitter(1000)
    splitter.feed(b": first\n\n")
    event = b"data: " + b"x" * 200 + b"\n\n"
    assert splitter.feed(event)[0] is event


@pytest.mark.parametrize("piece_bytes", [1, 7, 1000])
@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b""])
def test_refuses_a_frame_over_the_limit(piece_bytes: int, end: bytes) -> None:
    stream = b"data: ok\n\ndata: " + b"x" * 100 + end
    pieces = [stream[i : i + piece_bytes] for i in range(0, len(stream), piece_bytes)]
    with pytest.raises(DataError) as caught:
        split(*pieces, limit_bytes=50)
    assert caught.value.code is Code.DATA_CORRUPT


def test_limits_each_frame_and_not_the_read() -> None:
    many = b"data: x\n\n" * 100
    assert split(many, many, limit_bytes=20) == [b"data: x\n\n"] * 200


@pytest.mark.parametrize("stream", [b"data: a\r\rdata: b\n\n", b"data: a\rid: 1\n\n"])
def test_refuses_a_lone_cr_that_would_hide_a_line(stream: bytes) -> None:
    for pieces in ([stream], [stream[i : i + 1] for i in range(len(stream))]):
        with pytest.raises(DataError, match="lone CR"):
            split(*pieces)
        with pytest.raises(DataError, match="lone CR"):
            split(b": first\n\n", *pieces)


@pytest.mark.parametrize(
    ("frame", "data"),
    [
        (b"data: [DONE]\n\n", b"[DONE]"),
        (b"data:x\n\n", b"x"),
        (b"data: x\r\n\r\n", b"x"),
        (b"data: x\r\n\n", b"x"),
        (b"data: a\ndata: b\n\n", b"a\nb"),
        (b"event: error\ndata: {}\n\n", b"{}"),
        (b"\ndata: x\n\n", b"x"),
        (b"data\n\n", b""),
        (b"data: \n\n", b""),
        (b": ping\n\n", None),
        (b":\n\n", None),
        (b"\n\n", None),
        (b"event: x\n\n", None),
        (b"dataset: x\n\n", None),
    ],
)
def test_finds_the_data_of_a_frame(frame: bytes, data: bytes | None) -> None:
    assert payload(frame) == data


tokens = st.sampled_from([b"\n", b"\r\n", b"\n\n", b"data: ", b"data:", b":", b"x", b"id: 1"])
streams = st.lists(tokens, max_size=30).map(b"".join)


@given(streams, st.lists(st.integers(0)))
def test_any_cut_gives_the_same_frames(stream: bytes, cuts: list[int]) -> None:
    frames = split(stream)
    assert split(*cut(stream, cuts)) == frames
    assert stream.startswith(b"".join(frames))


@given(streams)
def test_agrees_with_the_decoder_about_every_event(stream: bytes) -> None:
    frames = split(stream)
    data = [found.decode() for frame in frames if (found := payload(frame)) is not None]
    assert data == [event.data for event in SseDecoder().feed(b"".join(frames))]
