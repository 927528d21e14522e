"""What was printed stays true: a new attempt goes on where it can, and says so where it cannot."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llorch_ctl.commands.jobs.answer import Answer


class Terminal:
    def __init__(self) -> None:
        self.out: list[str] = []
        self.told: list[str] = []
        self.answer = Answer(self.out.append, self.told.append)

    def tokens(self, pieces: Iterable[str], start: int = 0) -> None:
        for at, piece in enumerate(pieces, start):
            self.answer.token(piece, at, 1)

    @property
    def text(self) -> str:
        return "".join(self.out)


@pytest.fixture
def terminal() -> Terminal:
    return Terminal()


def test_tokens_are_written_as_they_come_and_the_line_is_ended(terminal: Terminal) -> None:
    terminal.tokens(["Hel", "lo", ""])
    assert terminal.out == ["Hel", "lo"]
    terminal.answer.finish()
    assert terminal.text == "Hello\n"
    assert terminal.answer.text == "Hello"


def test_line_that_has_ended_is_not_ended_twice(terminal: Terminal) -> None:
    terminal.tokens(["a\n"])
    terminal.answer.finish()
    assert terminal.text == "a\n"


def test_empty_answer_prints_nothing(terminal: Terminal) -> None:
    terminal.answer.finish()
    assert terminal.text == ""


def test_continuation_goes_on_behind_the_kept_tokens(terminal: Terminal) -> None:
    terminal.tokens(["a", "b", "c"])
    terminal.answer.attempt(3)
    terminal.tokens(["d"], start=3)
    terminal.answer.finish()
    assert (terminal.text, terminal.told) == ("abcd\n", [])


def test_restart_with_the_same_answer_prints_only_what_is_new(terminal: Terminal) -> None:
    terminal.tokens(["one ", "two ", "th"])
    terminal.answer.attempt(0)
    terminal.tokens(["one two", " ", "three"])
    terminal.answer.finish()
    assert terminal.out == ["one ", "two ", "th", "ree", "\n"]
    assert terminal.told == []


def test_several_tokens_in_one_event_are_counted(terminal: Terminal) -> None:
    terminal.answer.token("a", 0, 1)
    terminal.answer.token("bcd", 1, 3)
    terminal.answer.token("e", 4, 1)
    terminal.answer.attempt(4)
    terminal.answer.token("ef", 4, 2)
    assert terminal.text == "abcdef"
    assert terminal.answer.text == "abcdef"


def test_different_answer_is_announced_and_starts_on_a_new_line(terminal: Terminal) -> None:
    terminal.tokens(["red ", "green"])
    terminal.answer.attempt(0)
    terminal.tokens(["red ", "blue", " sky"])
    terminal.answer.finish()
    assert terminal.text == "red green\nred blue sky\n"
    assert len(terminal.told) == 1


def test_shorter_answer_is_announced_at_the_end(terminal: Terminal) -> None:
    terminal.tokens(["red ", "green"])
    terminal.answer.attempt(0)
    terminal.tokens(["red "])
    terminal.answer.finish()
    assert terminal.text == "red green\nred \n"
    assert len(terminal.told) == 1


def test_keep_inside_an_event_is_said(terminal: Terminal) -> None:
    terminal.answer.token("abc", 0, 3)
    terminal.answer.attempt(2)
    assert terminal.told == ["2 tokens of the earlier attempt cannot be placed"]


@given(
    st.lists(st.text(max_size=3), max_size=12),
    st.lists(st.integers(0, 12), max_size=4),
)
def test_repeated_attempts_of_one_answer_print_it_exactly_once(
    pieces: list[str], breaks: list[int]
) -> None:
    terminal = Terminal()
    done = 0
    for keep in breaks:
        reached = min(len(pieces), max(done, keep))
        terminal.tokens(pieces[done:reached], start=done)
        done = min(keep, reached)
        terminal.answer.attempt(done)
    terminal.tokens(pieces[done:], start=done)
    whole = "".join(pieces)
    assert terminal.text == whole == terminal.answer.text
    assert terminal.told == []
