"""The end of a log, and what is added to it."""

from itertools import islice
from pathlib import Path

from orchestrator_core.console.logs import follow_lines, last_lines


def test_shows_the_last_lines_and_none_of_a_missing_file(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    assert last_lines(log, 5) == []
    log.write_bytes(b"one\ntwo\nthr\xffee")
    assert last_lines(log, 2) == ["two", "thr\ufffdee"]
    assert last_lines(log, 0) == []
    assert last_lines(log, 9, start=4) == ["two", "thr\ufffdee"]
    assert last_lines(log, 9, start=400) == ["one", "two", "thr\ufffdee"]


def test_follows_growth_cuts_and_a_late_birth(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    acts = iter(
        [
            lambda: log.write_text("one\ntw"),
            lambda: log.write_text("one\ntwo\nthree\n"),
            lambda: log.write_text("new\n"),
        ]
    )
    lines = follow_lines(log, 10, pause=lambda _: (next(acts)(), None)[1])
    assert list(islice(lines, 4)) == ["one", "two", "three", "new"]


def test_following_begins_with_the_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("a\nb\n")
    lines = follow_lines(log, 1, pause=lambda _: (log.write_text("a\nb\nc\n"), None)[1])
    assert list(islice(lines, 2)) == ["b", "c"]
