"""The judge of /v1 calls finds what a client may not be told, and the reader notes what it is."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from support.history import Aftermath, Call, History, JobFact, UsageFact
from support.history_call_rules import judge_calls
from support.history_calls import CallReader

ANSWERS = {"Hello": "Hello you there"}
WHOLE = Call(
    "Hello",
    stream=True,
    has_stop=False,
    job_id="job_9",
    text="Hello you there",
    finish="stop",
    end="whole",
)


def chunk(content: str = "", finish: str | None = None, call_id: str = "chatcmpl-9") -> bytes:
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": finish}
    return b"data: " + json.dumps({"id": call_id, "choices": [choice]}).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
ERROR = b'data: {"error": {"message": "gone", "code": "poison"}}\n\n'
GOOD = chunk("Hello") + b": waiting\n\n" + chunk(" you") + chunk("", "stop") + DONE


def stories(call: Call, aftermath: Aftermath | None = None) -> dict[str, str]:
    history = History(seed=1, calls=[call])
    return {it.rule: it.story for it in judge_calls(history, aftermath or Aftermath(), ANSWERS)}


@pytest.mark.parametrize(
    "call",
    [
        WHOLE,
        replace(WHOLE, end="left", text="Hello", finish=None),
        replace(WHOLE, end="cut", text="Hello you", finish=None, excused=True),
        replace(WHOLE, end="error", text="Hello", finish=None, code="poison"),
        replace(WHOLE, end="error", text="Hello", finish=None, code="worker_lost", has_stop=True),
        replace(WHOLE, end="error", text="Hello", finish=None, code="draining", excused=True),
        replace(WHOLE, end="refused 503", text="", finish=None, code="loading"),
    ],
)
def test_a_call_that_was_told_the_truth_is_found_good(call: Call) -> None:
    assert stories(call) == {}


@pytest.mark.parametrize(
    "call",
    [
        replace(WHOLE, text="Hello there you"),
        replace(WHOLE, text="Hello you"),
        replace(WHOLE, finish=None),
        replace(WHOLE, end="left", text="Hello there"),
        replace(WHOLE, end="cut", text="Hello"),
        replace(WHOLE, end="unfinished", text="Hello"),
        replace(WHOLE, end=""),
        replace(WHOLE, end="error", text="Hello", code="internal"),
        replace(WHOLE, end="error", text="Hello", code="worker_lost"),
        replace(WHOLE, end="error", text="Hello", code="draining"),
        replace(WHOLE, end="refused 404", text="", code="model_not_found"),
        replace(WHOLE, oddities=["after its end: more"]),
    ],
)
def test_a_call_that_was_told_something_else_is_found(call: Call) -> None:
    assert set(stories(call)) == {"calls"}


def test_the_id_of_a_job_is_not_that_of_a_call() -> None:
    aftermath = Aftermath({"job_9": JobFact("job_9", "completed")})
    assert set(stories(WHOLE, aftermath)) == {"once"}


def test_two_calls_do_not_share_an_id() -> None:
    found = [*judge_calls(History(seed=1, calls=[WHOLE, WHOLE]), Aftermath(), ANSWERS)]
    assert [it.rule for it in found] == ["once"]


def test_the_books_agree_with_what_was_told() -> None:
    aftermath = Aftermath(call_usage=[UsageFact("job_9", "failed", 3)])
    assert set(stories(WHOLE, aftermath)) == {"usage"}


def read(*pieces: bytes) -> Call:
    call = Call("Hello", stream=True, has_stop=False)
    reader = CallReader(call)
    for piece in pieces:
        reader.read(piece)
    reader.close()
    return call


def test_a_stream_is_read_however_it_is_cut_into_pieces() -> None:
    for at in range(len(GOOD)):
        call = read(GOOD[:at], GOOD[at:])
        assert (call.text, call.finish, call.end, call.oddities) == (
            "Hello you",
            "stop",
            "whole",
            [],
        )


def test_an_error_in_the_stream_is_its_end() -> None:
    call = read(chunk("Hello"), ERROR)
    assert (call.text, call.end, call.code, call.oddities) == ("Hello", "error", "poison", [])


Read = Callable[[], Call]


@pytest.mark.parametrize(
    ("act", "end"),
    [
        (lambda: read(GOOD, chunk("more")), "whole"),
        (lambda: read(GOOD, DONE), "whole"),
        (lambda: read(chunk("a"), chunk("b", call_id="chatcmpl-8"), DONE), "whole"),
        (lambda: read(chunk("a", "stop"), chunk("b"), DONE), "whole"),
        (lambda: read(chunk("a", "stop"), chunk("", "stop"), DONE), "whole"),
        (lambda: read(ERROR, DONE), "error"),
        (lambda: read(chunk("a"), b"data: {"), "unfinished"),
    ],
)
def test_what_does_not_belong_into_a_stream_is_noted(act: Read, end: str) -> None:
    call = act()
    assert call.end == end
    assert call.oddities


def test_a_stream_without_its_last_word_is_unfinished() -> None:
    assert read(chunk("Hello", "stop")).end == "unfinished"
