"""An engine's chat stream in our words, as bytes and folded; however the pieces were cut."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_core.stream.frames import FrameSplitter, payload
from orchestratord.runtime.jobs.live import Piece
from orchestratord.serving.dialects.chat_fold import ChatFold, Frame
from orchestratord.serving.dialects.chat_stream import ChatRewrite, keepalive_chunk
from orchestratord.upstream.chunks import DONE, read_chunk
from support.fake_engine import ENGINE_ID, chunk, event, finish, progress, role, text

OUR_ID, OUR_PRINT = "chatcmpl-ours", "llorch-1"


def pieces_of(*feeds: bytes) -> list[list[Piece]]:
    """The pieces of each read, as the pump makes them."""
    splitter = FrameSplitter()
    reads: list[list[Piece]] = []
    for feed in feeds:
        found: list[Piece] = []
        for frame in splitter.feed(feed):
            data = payload(frame)
            if data is not None and data != DONE:
                read = read_chunk(data)
                assert read is not None
                found.append(Piece(frame, read))
        reads.append(found)
    return reads


def rewrite(*feeds: bytes, include_usage: bool = False, model: str = "tiny-chat") -> bytes:
    view = ChatRewrite(
        call_id=OUR_ID, model=model, fingerprint=OUR_PRINT, include_usage=include_usage
    )
    return b"".join(view.rewrite(found) for found in pieces_of(*feeds))


def parsed(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(frame.removeprefix(b"data: ")) for frame in data.split(b"\n\n") if frame]


WORDS = ["Hel", "lo", ' "id":"' + ENGINE_ID + '"', "\n\ndata: x", "ünï", "", "\\", '"}]}']
STREAM = b"".join([progress(1), progress(8), role(), *map(text, WORDS), finish(completion=8)])


@given(st.sets(st.integers(min_value=1, max_value=len(STREAM) - 1)), st.booleans())
def test_any_cut_of_the_reads_gives_the_same_bytes(cuts: set[int], include_usage: bool) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    feeds = [STREAM[start:end] for start, end in itertools.pairwise(edges)]
    whole = rewrite(STREAM, include_usage=include_usage)
    assert rewrite(*feeds, include_usage=include_usage) == whole


def test_ids_are_ours_and_everything_else_is_the_engines() -> None:
    seen = parsed(rewrite(STREAM))
    sent = [chunk for chunk in parsed(STREAM.partition(b"data: [DONE]")[0]) if chunk["choices"]]
    sent = [chunk for chunk in sent if "prompt_progress" not in chunk]
    for chunk_ in sent:
        chunk_ |= {"id": OUR_ID, "system_fingerprint": OUR_PRINT}
    assert seen == sent
    assert [chunk_["choices"][0]["delta"].get("content") for chunk_ in seen] == [
        None, *WORDS, None,
    ]  # fmt: skip


def test_progress_never_and_usage_only_on_request_reach_the_client() -> None:
    for include_usage in (False, True):
        seen = parsed(rewrite(STREAM, include_usage=include_usage))
        assert not any("prompt_progress" in chunk for chunk in seen)
        assert any("usage" in chunk for chunk in seen) is include_usage
        assert b"[DONE]" not in rewrite(STREAM, include_usage=include_usage)


@given(st.text())
def test_text_is_never_touched_whatever_it_says(words: str) -> None:
    words = f'"id":"{ENGINE_ID}" "system_fingerprint":"b0-unknown" {words}'
    (seen,) = parsed(rewrite(text(words)))
    assert seen["choices"][0]["delta"]["content"] == words
    assert (seen["id"], seen["system_fingerprint"]) == (OUR_ID, OUR_PRINT)


def test_an_engine_without_an_id_keeps_the_ids_of_its_tool_calls() -> None:
    body = chunk([{"index": 0, "delta": {"tool_calls": [{"index": 0, "id": "", "function": {}}]}}])
    del body["id"]
    (seen,) = parsed(rewrite(event(body)))
    assert seen["choices"][0]["delta"]["tool_calls"][0]["id"] == ""


def test_an_id_that_needs_escapes_is_replaced_too() -> None:
    body = chunk([{"index": 0, "delta": {"content": "x"}}]) | {"id": 'a"b\\c'}
    (seen,) = parsed(rewrite(event(body)))
    assert seen["id"] == OUR_ID


def test_a_keep_alive_chunk_is_an_empty_chunk_of_the_same_call() -> None:
    (seen,) = parsed(keepalive_chunk(call_id=OUR_ID, model="m", created=5))
    assert seen == {
        "id": OUR_ID,
        "object": "chat.completion.chunk",
        "created": 5,
        "model": "m",
        "choices": [],
    }


FRAME = Frame(call_id=OUR_ID, model="m", created=5, fingerprint=OUR_PRINT)


def fold(*events: object) -> dict[str, Any]:
    folded = ChatFold()
    for body in events:
        folded.add(body)  # type: ignore[arg-type]
    return json.loads(json.dumps(folded.result(FRAME, {"total_tokens": 3})))


def delta(index: int = 0, reason: str | None = None, **fields: object) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": fields, "finish_reason": reason}]}


def test_a_fold_is_one_whole_completion() -> None:
    body = fold(delta(role="assistant"), delta(content="Hel"), delta(content="lo"),
                delta(reason="length"))  # fmt: skip
    assert body == {
        "id": OUR_ID,
        "object": "chat.completion",
        "created": 5,
        "model": "m",
        "system_fingerprint": OUR_PRINT,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello"},
                "finish_reason": "length",
            }
        ],
        "usage": {"total_tokens": 3},
    }


def test_choices_that_interleave_are_told_apart() -> None:
    body = fold(delta(1, content="b"), delta(0, content="a"), delta(1, content="B", reason="stop"))
    assert [choice["message"]["content"] for choice in body["choices"]] == ["a", "bB"]
    assert [choice["index"] for choice in body["choices"]] == [0, 1]


def test_tool_calls_reasoning_and_logprobs_are_gathered() -> None:
    call = {"index": 0, "id": "call_1", "function": {"name": "f", "arguments": '{"a"'}}
    more = {"index": 0, "function": {"arguments": ":1}"}}
    body = fold(
        delta(reasoning_content="hm"),
        delta(tool_calls=[call]),
        delta(tool_calls=[more], reason="tool_calls"),
    )
    (choice,) = body["choices"]
    assert choice["message"] == {
        "role": "assistant",
        "content": None,
        "reasoning_content": "hm",
        "tool_calls": [
            {
                "id": "call_1",
                "type": "function",
                "function": {"name": "f", "arguments": '{"a":1}'},
            }
        ],
    }
    with_logprobs = delta(content="x")
    with_logprobs["choices"][0]["logprobs"] = {"content": [{"token": "x"}]}
    assert fold(with_logprobs)["choices"][0]["logprobs"] == {"content": [{"token": "x"}]}


@pytest.mark.parametrize(
    "odd",
    [{}, {"choices": None}, {"choices": [1]}, {"choices": [{}]}, delta(content=5),
     delta(tool_calls="x"), delta(tool_calls=[{"function": 5}])],
)  # fmt: skip
def test_nonsense_folds_to_a_valid_completion(odd: dict[str, Any]) -> None:
    body = fold(odd)
    assert body["choices"][0]["message"]["role"] == "assistant"
    assert body["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("spaced", [False, True])
def test_an_engine_that_calls_the_model_otherwise_is_corrected(spaced: bool) -> None:
    words = ["Hel", ' "model":"tiny-chat"', '"model": "tiny-chat"', *"abcdefghijkl"]
    stream = role() + b"".join(map(text, words)) + finish()
    if spaced:
        bodies = parsed(stream.partition(b"data: [DONE]")[0])
        stream = b"".join(b"data: " + json.dumps(body).encode() + b"\n\n" for body in bodies)
    seen = parsed(rewrite(stream, model="ours/größer", include_usage=True))
    assert {chunk_["model"] for chunk_ in seen} == {"ours/größer"}
    assert {chunk_["id"] for chunk_ in seen} == {OUR_ID}
    said = [c["choices"][0]["delta"].get("content") for c in seen if c["choices"]]
    assert said == [None, *words, None]


def test_a_model_name_without_ascii_is_found_in_escapes() -> None:
    body = chunk([{"index": 0, "delta": {"content": "x"}}], model="größer")
    assert parsed(rewrite(b"data: " + json.dumps(body).encode() + b"\n\n"))[0]["model"] == (
        "tiny-chat"
    )


def test_an_answer_that_nobody_counted_says_so() -> None:
    frame = Frame(call_id=OUR_ID, model="m", created=1, fingerprint=OUR_PRINT)
    assert ChatFold().result(frame, None)["usage"] is None
