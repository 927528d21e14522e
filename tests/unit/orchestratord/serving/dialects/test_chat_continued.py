"""The rest of a chat reads as if the worker that began it had made it too."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from orchestratord.runtime.jobs.live import Piece
from orchestratord.serving.dialects.chat_continued import ContinuedChat
from orchestratord.upstream.chunks import Shape, read_chunk


def view(*, include_usage: bool = True) -> ContinuedChat:
    return ContinuedChat(
        call_id="chatcmpl-ours",
        model="tiny-chat",
        fingerprint="llorch-1",
        created=17,
        include_usage=include_usage,
    )


def piece(choice: dict[str, Any], **more: object) -> Piece:
    body = {"id": "theirs", "created": 99, "model": "x", "choices": [choice], **more}
    raw = json.dumps(body).encode()
    chunk = read_chunk(raw)
    assert chunk is not None
    return Piece(b"data: " + raw + b"\n\n", chunk)


def events(data: bytes) -> list[dict[str, Any]]:
    frames = data.decode().split("\n\n")
    assert frames.pop() == ""
    return [json.loads(frame.removeprefix("data: ")) for frame in frames]


NAMES = {
    "id": "chatcmpl-ours",
    "created": 17,
    "model": "tiny-chat",
    "system_fingerprint": "llorch-1",
    "object": "chat.completion.chunk",
}


@given(st.lists(st.text(min_size=1)))
def test_any_text_stays_what_it_was(words: list[str]) -> None:
    pieces = [piece({"text": word, "index": 0, "finish_reason": None}) for word in words]
    for told, word in zip(events(view().rewrite(pieces)), words, strict=True):
        choice = {"finish_reason": None, "index": 0, "delta": {"content": word}}
        assert told == {"choices": [choice], **NAMES}


def test_the_last_event_of_the_rest_becomes_an_end_and_a_usage() -> None:
    last = piece(
        {"text": "", "index": 0, "finish_reason": "length"},
        usage={"total_tokens": 3},
        timings={"prompt_ms": 1},
    )
    end, counted = events(view().rewrite([last]))
    assert end == {"choices": [{"finish_reason": "length", "index": 0, "delta": {}}], **NAMES}
    assert counted == {
        "choices": [],
        **NAMES,
        "usage": {"total_tokens": 3},
        "timings": {"prompt_ms": 1},
    }
    assert events(view(include_usage=False).rewrite([last])) == [end]


def test_what_brings_no_text_is_left_out() -> None:
    told = [
        piece({"text": "", "index": 0, "finish_reason": None}),
        piece({"text": "", "index": 0}, prompt_progress={"total": 5}),
    ]
    assert view().rewrite(told) == b""


def test_a_token_of_a_known_shape_reads_like_any_other() -> None:
    shape = Shape(b"", b"", {}, 0)
    token = view().token(shape, "ü".encode())
    assert events(token)[0]["choices"][0]["delta"] == {"content": "ü"}
