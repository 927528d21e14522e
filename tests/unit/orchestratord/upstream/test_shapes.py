"""Tokens read by their shape say exactly what a careful read would have said."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_core.stream.frames import FrameSplitter, payload
from orchestratord.runtime.jobs.live import Piece
from orchestratord.serving.dialects.chat_fold import ChatFold, Frame
from orchestratord.serving.dialects.chat_stream import ChatRewrite
from orchestratord.upstream.chunks import Chunk, read_chunk
from orchestratord.upstream.shapes import ShapeReader, shape_of
from support.fake_engine import ENGINE_ID, chunk, event, progress, role, text

Event = dict[str, Any]


def careful(frame: bytes) -> Chunk:
    data = payload(frame)
    assert data is not None
    found = read_chunk(data)
    assert found is not None
    return found


def taught(frame: bytes, times: int = 3) -> ShapeReader:
    reader = ShapeReader()
    for _ in range(times):
        reader.learn(frame, careful(frame))
    return reader


def body(content: object, **more: object) -> Event:
    return {"choices": [{"index": 0, "finish_reason": None, "delta": {"content": content}}], **more}


@given(st.lists(st.text() | st.just(f'"id":"{ENGINE_ID}"'), min_size=4), st.booleans())
def test_a_stream_reads_and_looks_the_same_with_and_without_shapes(
    words: list[str], spelled_out: bool
) -> None:
    choices = [[{"index": 0, "delta": {"content": word}}] for word in words]
    written = [
        json.dumps(chunk(choice), separators=(",", ":"), ensure_ascii=spelled_out)
        for choice in choices
    ]
    sent = b"".join(b"data: %b\n\n" % line.encode(errors="replace") for line in written)
    reader, splitter = ShapeReader(), FrameSplitter()
    views = [
        ChatRewrite(
            call_id="chatcmpl-ours", model="tiny-chat", fingerprint="ours", include_usage=False
        )
        for _ in range(2)
    ]
    folds = [ChatFold(), ChatFold()]
    for frame in splitter.feed(sent):
        plain = careful(frame)
        quick = reader.read(frame)
        if quick is None:
            reader.learn(frame, plain)
            quick = plain
        assert (quick.text, quick.has_choices) == (plain.text, plain.has_choices)
        facts = [(it.finish_reason, it.usage, it.timings, it.error) for it in (quick, plain)]
        assert facts[0] == facts[1]
        assert views[0].rewrite([Piece(frame, quick)]) == views[1].rewrite([Piece(frame, plain)])
        if quick.shape is not None:
            folds[0].add_text(quick.shape.index, quick.text)
        else:
            folds[0].add(quick.body)
        folds[1].add(plain.body)
    around = Frame(call_id="chatcmpl-ours", model="m", created=1, fingerprint="ours")
    assert folds[0].result(around, {}) == folds[1].result(around, {})


def test_the_usual_token_is_read_by_its_shape() -> None:
    reader = taught(text(" am"))
    assert reader.text_of(text(" ünïcode 語")) is None  # It is spelled with escapes here.
    assert reader.text_of(text(" you")) == b" you"
    raw = text("X").replace(b'"X"', '" ünïcode 語"'.encode())
    assert reader.text_of(raw) == " ünïcode 語".encode()
    found = reader.read(text(" you"))
    assert found is not None
    assert (found.text, found.middle, found.has_choices) == (" you", b" you", True)


@pytest.mark.parametrize(
    "middle",
    [b"", b'"', b'a","x":"b', b"\\n", b"\\", b"a\nb", b"\r", b"\x00", b"\xff", b"\xed\xa0\x80"],
)
def test_bytes_that_could_mean_something_are_read_with_care(middle: bytes) -> None:
    reader = taught(text("X"))
    assert reader.text_of(text("X").replace(b'"X"', b'"' + middle + b'"')) is None


@pytest.mark.parametrize(
    "other",
    [
        text("X")[:-1],
        text("X") + text("Y"),
        text("X")[1:],
        event(chunk([{"index": 1, "delta": {"content": "X"}, "finish_reason": None}])),
        event(chunk([{"index": 0, "delta": {"content": "X"}, "finish_reason": "stop"}])),
        role(),
        progress(),
        b": ping\n\n",
        b"data: [DONE]\n\n",
    ],
)
def test_whatever_is_not_exactly_like_it_is_read_with_care(other: bytes) -> None:
    assert taught(text("X")).text_of(other) is None


@pytest.mark.parametrize(
    "found",
    [
        body("X", usage={"prompt_tokens": 1}),
        body("X", timings={"prompt_ms": 1}),
        body("X", prompt_progress={"total": 1}),
        {"choices": [{"index": 0, "delta": {"content": "X"}, "finish_reason": "length"}]},
        {"choices": [{"index": 0, "delta": {"content": "X"}, "logprobs": {"content": []}}]},
        {"choices": [{"index": 0, "delta": {"content": "X", "reasoning_content": "y"}}]},
        {"choices": [{"index": 0, "delta": {"content": "X", "tool_calls": []}}]},
        {"choices": [{"index": 0, "delta": {"content": "X"}}, {"index": 1, "delta": {}}]},
        {"choices": [{"index": 0, "text": "X"}]},
        body('say "X"'),
        body(""),
    ],
)
def test_an_event_that_tells_more_than_its_text_has_no_shape(found: Event) -> None:
    frame = event(found)
    if careful(frame).text:
        assert shape_of(frame, careful(frame)) is None
    reader = taught(frame, times=40)
    assert reader.shape is None


def test_a_member_that_looks_like_the_text_is_not_taken_for_it() -> None:
    frame = b'data: {"note":{"content":"X"},"choices":[{"index":0,"delta":{"content":"X"}}]}\n\n'
    assert shape_of(frame, careful(frame)) is None


def test_a_member_given_twice_counts_as_the_reader_counts_it() -> None:
    frame = b'data: {"choices":[{"index":0,"delta":{"content":"Y","content":"X"}}]}\n\n'
    reader = taught(frame)
    assert reader.text_of(frame.replace(b'"X"', b'"Z"')) == b"Z"
    assert careful(frame.replace(b'"X"', b'"Z"')).text == "Z"


def test_an_event_of_several_lines_has_no_shape() -> None:
    frame = b"id: 1\n" + text("X")
    assert shape_of(frame, careful(frame)) is None
    assert taught(text("X" * 5000)).shape is None


def test_a_new_shape_is_learnt_when_the_old_one_has_paid_and_rarely_otherwise() -> None:
    reader = taught(text("X"))
    first = reader.shape
    later = text("X").replace(b"1700000000", b"1700000001")
    reader.learn(later, careful(later))
    assert reader.shape is first
    for _ in range(4):
        assert reader.text_of(text("a")) == b"a"
    reader.learn(later, careful(later))
    assert reader.text_of(later) == b"X"
    assert reader.text_of(text("a")) is None
