"""How much of a file is read to know its header."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_core.gguf.header import (
    FIRST_READ_BYTES,
    MAX_HEADER_BYTES,
    Damaged,
    Header,
    parse_header,
)
from orchestrator_core.gguf.reading import HeaderReading
from support.gguf_files import gguf_bytes

WORDS = gguf_bytes(values={"tokenizer.ggml.tokens": [f"word {n}" for n in range(20_000)]})
CUT = "it is incomplete: it ends inside its header: download it again"


def read(data: bytes, reading: HeaderReading) -> tuple[Header | Damaged, list[int]]:
    """Read as a disk does: what is asked for, or what is there of it."""
    asked: list[int] = []
    answer = None
    while answer is None:
        asked.append(reading.wanted_bytes)
        answer = reading.add(data[reading.read_bytes : reading.wanted_bytes])
    return answer, asked


def test_a_short_header_takes_one_look_of_the_usual_size() -> None:
    data = gguf_bytes()
    answer, asked = read(data + bytes(10 * FIRST_READ_BYTES), HeaderReading())
    assert isinstance(answer, Header)
    assert asked == [FIRST_READ_BYTES]


def test_a_small_file_is_never_asked_for_more_than_it_has() -> None:
    data = gguf_bytes()
    answer, asked = read(data, HeaderReading(len(data)))
    assert isinstance(answer, Header)
    assert asked == [len(data)]


def test_a_long_header_is_read_in_steps_that_at_least_double() -> None:
    reading = HeaderReading(len(WORDS))
    answer, asked = read(WORDS, reading)
    assert answer == parse_header(WORDS)
    assert asked[0] == FIRST_READ_BYTES
    assert all(after >= min(2 * before, len(WORDS)) for before, after in itertools.pairwise(asked))
    assert reading.read_bytes == asked[-1] <= len(WORDS)


@pytest.mark.parametrize("size", [1, 100, FIRST_READ_BYTES, FIRST_READ_BYTES + 1, 300_000])
def test_a_file_that_ends_inside_its_header_is_incomplete(size: int) -> None:
    told, _ = read(WORDS[:size], HeaderReading(size))
    untold, _ = read(WORDS[:size], HeaderReading())
    assert told == untold == Damaged(CUT)


def test_a_file_that_became_shorter_than_it_was_said_to_be_ends_the_reading() -> None:
    answer, _ = read(WORDS[:100_000], HeaderReading(len(WORDS)))
    assert answer == Damaged(CUT)


def test_an_empty_file_is_told_as_such() -> None:
    assert read(b"", HeaderReading(0))[0] == Damaged("the file is empty")
    assert read(b"", HeaderReading())[0] == Damaged("the file is empty")


def test_short_answers_of_a_slow_source_are_put_together() -> None:
    reading = HeaderReading(len(WORDS))
    answer = None
    while answer is None:
        start = reading.read_bytes
        answer = reading.add(WORDS[start : min(start + 30_000, reading.wanted_bytes)])
    assert answer == parse_header(WORDS)


def test_no_header_makes_anybody_read_more_than_the_largest_one() -> None:
    reading = HeaderReading(10 * MAX_HEADER_BYTES)
    forged = WORDS[:24] + b"\xff" * 40
    answer, asked = read(forged + bytes(FIRST_READ_BYTES), reading)
    assert isinstance(answer, Damaged)
    assert max(asked) <= MAX_HEADER_BYTES


def test_what_is_no_header_at_all_is_known_after_the_first_look() -> None:
    answer, asked = read(b"<!doctype html>" + bytes(200_000), HeaderReading())
    assert isinstance(answer, Damaged)
    assert "web page" in answer.reason
    assert asked == [FIRST_READ_BYTES]


@given(cut=st.integers(0, len(WORDS)), piece=st.integers(4_000, 200_000))
def test_however_it_is_read_the_answer_is_the_same(cut: int, piece: int) -> None:
    data = WORDS[:cut]
    reading, answer = HeaderReading(cut), None
    while answer is None:
        start = reading.read_bytes
        assert start < reading.wanted_bytes <= cut or cut == 0
        answer = reading.add(data[start : min(start + piece, reading.wanted_bytes)])
    whole = parse_header(data)
    assert answer == whole if isinstance(whole, Header) else isinstance(answer, Damaged)
