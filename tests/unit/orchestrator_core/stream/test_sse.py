"""The event stream codec against the rules of the WHATWG standard."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_core.errors import Code, DataError
from orchestrator_core.stream.sse import SseDecoder, SseEvent, comment, encode


def decoded(*pieces: bytes, limit_bytes: int = 1 << 20) -> list[SseEvent]:
    decoder = SseDecoder(limit_bytes)
    return [event for piece in pieces for event in decoder.feed(piece)]


def cut(stream: bytes, cuts: list[int]) -> list[bytes]:
    marks = sorted({0, len(stream), *(at % (len(stream) + 1) for at in cuts)})
    return [stream[a:b] for a, b in itertools.pairwise(marks)]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: hi\n\n", [SseEvent("message", "hi")]),
        (b"data:hi\n\n", [SseEvent("message", "hi")]),
        (b"data:  hi\n\n", [SseEvent("message", " hi")]),
        (b"data: a\r\n\r\n", [SseEvent("message", "a")]),
        (b"data: a\r\rdata: b\r\r", [SseEvent("message", "a"), SseEvent("message", "b")]),
        (b"data: a\n\r\ndata: b\r\n\n", [SseEvent("message", "a"), SseEvent("message", "b")]),
        (b"data: a\ndata: b\n\n", [SseEvent("message", "a\nb")]),
        (b"data\n\ndata\ndata\n\ndata:", [SseEvent("message", ""), SseEvent("message", "\n")]),
        (b"event: end\ndata: 1\n\ndata: 2\n\n", [SseEvent("end", "1"), SseEvent("message", "2")]),
        (b"event: lost\n\ndata: 2\n\n", [SseEvent("message", "2")]),
        (b": hi\n\n:\n\ndata: x\n\n", [SseEvent("message", "x")]),
        (b"retry: 10\nunknown: 1\ndata: x\n\n", [SseEvent("message", "x")]),
        (b"\xef\xbb\xbfdata: x\n\n", [SseEvent("message", "x")]),
        (b"\xef\xbb\xbf\xef\xbb\xbfdata: x\n\n", []),
        (b"data: a:b\n\n", [SseEvent("message", "a:b")]),
        (b"data: \xff\n\n", [SseEvent("message", "\N{REPLACEMENT CHARACTER}")]),
        (b"data: never finished", []),
    ],
)
def test_reads_what_the_standard_says(stream: bytes, events: list[SseEvent]) -> None:
    assert decoded(stream) == events
    assert decoded(*(stream[i : i + 1] for i in range(len(stream)))) == events


def test_keeps_the_last_id_for_the_events_that_name_none() -> None:
    stream = b"data: 0\n\nid: 7\ndata: 1\n\ndata: 2\n\nid: 8\n\ndata: 3\n\nid\ndata: 4\n\n"
    assert [event.id for event in decoded(stream)] == [None, "7", "7", "8", ""]


def test_ignores_an_id_with_nul() -> None:
    assert decoded(b"id: 7\nid: 8\0\ndata: x\n\n") == [SseEvent("message", "x", "7")]


def test_ends_a_line_at_once_when_a_piece_ends_with_cr() -> None:
    decoder = SseDecoder()
    assert decoder.feed(b"data: x\r\r") == [SseEvent("message", "x")]
    assert decoder.feed(b"\ndata: y\r\n\r") == [SseEvent("message", "y")]
    assert decoder.feed(b"\n") == []


@pytest.mark.parametrize("piece_bytes", [1, 7, 1000])
def test_refuses_an_event_over_the_limit_however_it_is_cut(piece_bytes: int) -> None:
    for stream in (b"data: " + b"x" * 200 + b"\n\n", b"data: xxxxxxxx\n" * 20, b":" * 300):
        pieces = [stream[i : i + piece_bytes] for i in range(0, len(stream), piece_bytes)]
        with pytest.raises(DataError) as caught:
            decoded(*pieces, limit_bytes=100)
        assert caught.value.code is Code.DATA_CORRUPT


def test_lets_endless_comments_and_many_small_events_pass() -> None:
    decoder = SseDecoder(limit_bytes=20)
    for _ in range(100):
        assert decoder.feed(b": keep-alive\n") == []
        assert decoder.feed(b"data: x\n\n") == [SseEvent("message", "x")]


def test_writes_id_event_and_data_in_this_order() -> None:
    assert encode(data="a\nb", event="token", id=3) == b"id: 3\nevent: token\ndata: a\ndata: b\n\n"
    assert encode(data="") == b"data: \n\n"


def test_refuses_an_event_name_of_two_lines() -> None:
    with pytest.raises(ValueError, match="one line"):
        encode(data="x", event="a\ndata: forged")


def test_writes_comments_that_no_line_end_can_break_out_of() -> None:
    assert comment() == b":\n\n"
    assert comment("restarting") == b": restarting\n\n"
    assert decoded(comment("a\ndata: forged\r\rdata: x")) == []


names = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=8)
texts = st.text(st.sampled_from(["a", "é", "\N{WHITE SMILING FACE}", ":", " ", "\r", "\n", "\0"]))


@given(st.lists(st.tuples(texts, names, st.integers(0, 9)), max_size=5), st.lists(st.integers(0)))
def test_round_trip_survives_any_cut(sent: list[tuple[str, str, int]], cuts: list[int]) -> None:
    stream = b"".join(encode(data=d, event=e, id=i) + comment(d) for d, e, i in sent)
    expected = [
        SseEvent(e or "message", d.replace("\r\n", "\n").replace("\r", "\n"), str(i))
        for d, e, i in sent
    ]
    assert decoded(*cut(stream, cuts)) == expected


tokens = st.sampled_from(
    [b"\r", b"\n", b"\r\n", b"data", b":", b" ", b"id", b"event", b"\xe2\x98\xba", b"\xef\xbb\xbf"]
)


@given(st.lists(tokens).map(b"".join), st.lists(st.integers(0)))
def test_any_cut_gives_the_same_events(stream: bytes, cuts: list[int]) -> None:
    assert decoded(*cut(stream, cuts)) == decoded(stream)
