"""Reading a log: its end, what is added, and its place found again after every kind of cut."""

import asyncio
import os
from pathlib import Path

import pytest

from pool_core.workers.log_cutting import How, cut_log
from pool_core.workers.logs import LINE_MAX_BYTES, LogReader, follow, follow_batches, tail


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "wrk_a.log"


def append(log: Path, text: str | bytes) -> None:
    with log.open("ab") as stream:
        stream.write(text if isinstance(text, bytes) else text.encode())


def numbered(first: int, last: int) -> str:
    return "".join(f"line number {number}\n" for number in range(first, last))


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def read_all(reader: LogReader) -> list[str]:
    found: list[str] = []
    while batch := reader.read():
        found += batch
    return found


@pytest.mark.parametrize(
    ("content", "lines", "expected"),
    [
        ("", 5, []),
        ("one", 5, ["one"]),
        ("one\n", 5, ["one"]),
        ("one\ntwo\nthree\n", 2, ["two", "three"]),
        ("one\ntwo\nthree", 2, ["two", "three"]),
        ("one\ntwo\n", 0, []),
        ("one\n\n\n", 2, ["", ""]),
        ("one\r\ntwo\r\n", 5, ["one", "two"]),
        ("\0\0\0\0one\ntwo\n", 5, ["one", "two"]),
        (b"caf\xc3\xa9 \xff\n", 5, ["café \ufffd"]),
    ],
)
def test_the_last_lines(log: Path, content: str | bytes, lines: int, expected: list[str]) -> None:
    append(log, content)
    assert tail(log, lines) == expected


def test_there_is_nothing_to_read_where_no_log_is(tmp_path: Path) -> None:
    assert tail(tmp_path / "none.log", 5) == []
    assert tail(tmp_path, 5) == []


def test_the_last_lines_of_a_long_log_lie_many_pieces_before_its_end(log: Path) -> None:
    append(log, numbered(0, 50_000))
    found = tail(log, 20_000)
    assert (found[0], found[-1], len(found)) == ("line number 30000", "line number 49999", 20_000)


def test_a_tail_is_bounded_in_bytes_and_begins_with_a_whole_line(log: Path) -> None:
    append(log, ("x" * 999 + "\n") * 6000)
    found = tail(log, 6000)
    assert 4000 < len(found) < 4300
    assert set(found) == {"x" * 999}


def test_a_line_that_is_too_long_is_cut(log: Path) -> None:
    append(log, "a" * (3 * LINE_MAX_BYTES) + "\nshort\n" + "b" * (2 * LINE_MAX_BYTES))
    assert tail(log, 5) == ["a" * LINE_MAX_BYTES, "short", "b" * LINE_MAX_BYTES]


def test_a_line_is_given_out_once_it_is_whole(log: Path) -> None:
    append(log, "one\ntw")
    reader = LogReader(log, 10)
    assert read_all(reader) == ["one"]
    append(log, "o\nthree\n")
    assert read_all(reader) == ["two", "three"]
    append(log, "fo")
    assert read_all(reader) == []
    assert (reader.rest(), reader.rest()) == (["fo"], [])


def test_a_reader_of_no_lines_sees_only_what_is_new(log: Path) -> None:
    append(log, "old\nhalf of an old ")
    reader = LogReader(log, 0)
    assert read_all(reader) == []
    append(log, "line\nnew\n")
    assert read_all(reader) == ["new"]


def test_a_log_that_appears_later_is_read_from_its_start(log: Path) -> None:
    reader = LogReader(log, 10)
    assert read_all(reader) == []
    append(log, "one\n")
    assert read_all(reader) == ["one"]


def test_a_log_that_a_person_emptied_is_read_on_from_its_new_start(log: Path) -> None:
    append(log, numbered(0, 500))
    reader = LogReader(log, 500)
    assert len(read_all(reader)) == 500
    os.truncate(log, 0)
    assert read_all(reader) == []
    append(log, numbered(500, 510))
    assert read_all(reader) == [f"line number {number}" for number in range(500, 510)]


def test_a_log_that_was_emptied_and_grew_beyond_the_old_place_is_read_anew(log: Path) -> None:
    append(log, numbered(0, 100))
    reader = LogReader(log, 100)
    read_all(reader)
    os.truncate(log, 0)
    append(log, numbered(5000, 6000))
    assert len(read_all(reader)) == 1000


def test_a_log_that_was_replaced_is_read_from_its_start(log: Path) -> None:
    append(log, "old one\n")
    reader = LogReader(log, 10)
    read_all(reader)
    append(log.with_name("new"), "new one, and longer than before\n")
    log.with_name("new").replace(log)
    assert read_all(reader) == ["new one, and longer than before"]


def test_a_head_that_is_cut_off_moves_no_line(log: Path) -> None:
    append(log, numbered(0, 40_000))
    reader = LogReader(log, 1)
    assert read_all(reader) == ["line number 39999"]
    append(log, "half a ")
    assert read_all(reader) == []
    cut = cut_log(log, has_writer=True, limit_bytes=1 << 19, kept_bytes=1 << 18)
    assert cut is not None
    assert cut.how in (How.COLLAPSED, How.PUNCHED)
    append(log, "line\n" + numbered(40_000, 40_003))
    assert read_all(reader) == ["half a line", *numbered(40_000, 40_003).splitlines()]
    assert tail(log, 2) == ["line number 40001", "line number 40002"]


def test_a_reader_that_was_overtaken_by_a_cut_goes_on_with_the_first_line_left(log: Path) -> None:
    append(log, numbered(0, 10))
    reader = LogReader(log, 10)
    assert len(read_all(reader)) == 10
    append(log, numbered(10, 40_000))
    assert cut_log(log, has_writer=True, limit_bytes=1 << 19, kept_bytes=1 << 18) is not None
    found = read_all(reader)
    first = int(found[0].removeprefix("line number "))
    assert 10 < first < 40_000
    assert found == [f"line number {number}" for number in range(first, 40_000)]


async def test_following_ends_when_the_worker_has_ended_and_all_was_read(log: Path) -> None:
    append(log, "one\ntwo\n")
    pauses: list[float] = []
    alive = True

    async def wait(pause_s: float) -> None:
        nonlocal alive
        pauses.append(pause_s)
        append(log, f"pause {len(pauses)}\n")
        if len(pauses) == 3:
            append(log, "last words")
            alive = False

    found = [line async for line in follow(log, lines=1, ended=lambda: not alive, wait=wait)]
    assert found == ["two", "pause 1", "pause 2", "pause 3", "last words"]
    assert pauses == [0.5, 0.5, 0.5]


async def test_each_look_that_found_nothing_is_an_empty_batch(log: Path) -> None:
    append(log, "one\n")
    looks = 0

    async def wait(_pause_s: float) -> None:
        nonlocal looks
        looks += 1

    batches = [batch async for batch in follow_batches(log, ended=lambda: looks == 2, wait=wait)]
    assert batches == [["one"], [], []]


async def test_a_follower_that_leaves_keeps_nothing_open(log: Path) -> None:
    append(log, "one\n")
    before = open_files()
    stream = follow(log, ended=lambda: False)
    assert await anext(stream) == "one"
    async with asyncio.timeout(5):
        await stream.aclose()  # pyright: ignore[reportAttributeAccessIssue]
    assert open_files() == before
