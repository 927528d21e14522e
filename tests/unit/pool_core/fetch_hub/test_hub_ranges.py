"""A part of a file is taken only from an answer that is exactly that part."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import pytest

from orchestrator_core.errors import Code, Refusal
from pool_core.fetch.hub_answers import RemoteFile
from pool_core.fetch.hub_ranges import RangeReader
from pool_core.fetch.hub_refusals import Question
from pool_core.fetch.web import Web

DATA = bytes(range(100))
URL = "https://hub.example/acme/tiny/resolve/c/a.gguf"
FILE = RemoteFile("a.gguf", len(DATA), None, URL)
ASKED = Question("https://hub.example", "acme/tiny", file="a.gguf")


@dataclass
class Answer:
    """One answer, with its body in pieces of seven bytes."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str = "https://cdn.example/link"
    hops: int = 1

    def chunks(self) -> Iterator[bytes]:
        for start in range(0, len(self.body), 7):
            yield self.body[start : start + 7]


class ScriptedWeb:
    """Gives the same answer to everyone."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[tuple[str, int, int]] = []

    @contextmanager
    def stream(self, url: str, *, start: int, end: int) -> Iterator[Answer]:
        self.asked.append((url, start, end))
        yield self.answer


def read(status: int, body: bytes, start: int = 10, end: int = 30, **headers: str) -> object:
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    web = ScriptedWeb(Answer(status, told, body))
    return RangeReader(cast("Web", web)).read(FILE, start, end, ASKED)


def test_the_wanted_part_is_taken_from_a_part_and_from_the_whole() -> None:
    assert read(206, DATA[10:30], content_range="bytes 10-29/100") == DATA[10:30]
    assert read(200, DATA, content_length="100") == DATA[10:30]


def test_an_answer_that_goes_on_for_ever_is_left_early() -> None:
    assert read(206, DATA[10:], content_range="bytes 10-99/100") == DATA[10:30]


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (206, {"content_range": "bytes 0-29/100"}, DATA[:30]),
        (206, {"content_range": "bytes 11-30/100"}, DATA[11:31]),
        (206, {"content_range": "bytes 10-29/101"}, DATA[10:30]),
        (206, {"content_range": "bytes 10-29/*"}, DATA[10:30]),
        (206, {"content_length": "100"}, DATA[10:30]),
        (206, {"content_range": "bytes 10-28/100"}, DATA[10:29]),
        (200, {"content_length": "99"}, DATA),
        (200, {}, DATA),
        (200, {"content_length": "100", "content_type": "text/html"}, DATA),
        (500, {}, DATA),
        (416, {"content_range": "bytes */100"}, b""),
    ],
)
def test_any_other_answer_is_refused(status: int, headers: dict[str, str], body: bytes) -> None:
    refusal = read(status, body, **headers)
    assert isinstance(refusal, Refusal)
    assert refusal.code is Code.UNREACHABLE


def test_nothing_is_asked_for_beyond_the_end() -> None:
    web = ScriptedWeb(Answer(206, {"content-range": "bytes 90-99/100"}, DATA[90:]))
    reader = RangeReader(cast("Web", web))
    assert reader.read(FILE, 100, 200, ASKED) == b""
    assert reader.read(FILE, 90, 200, ASKED) == DATA[90:]
    assert web.asked == [(URL, 90, 100)]
