"""Text of strangers, made fit for a terminal."""

import shlex

from hypothesis import given
from hypothesis import strategies as st

from pool_ctl.git.plain import (
    TerminalFilter,
    bytes_of,
    hide_secrets,
    one_line,
    readable,
    shell_word,
    text_of,
)


@given(st.binary())
def test_every_path_comes_back_as_it_was(data: bytes) -> None:
    assert bytes_of(text_of(data)) == data


@given(st.binary())
def test_every_name_can_be_written_as_utf_8(data: bytes) -> None:
    written = readable(text_of(data)).encode("utf-8")
    assert len(written) >= len(data)


@given(st.binary(max_size=2000))
def test_one_line_is_one_printable_line_of_bounded_length(data: bytes) -> None:
    line = one_line(text_of(data))
    assert line.isprintable()
    assert len(line) <= 400


@given(st.text(alphabet="ab\x1b[31mK\x07\r\n\u202e", max_size=60), st.integers(1, 5))
def test_the_terminal_gets_no_control_however_the_stream_is_cut(text: str, size: int) -> None:
    data = text.encode()
    shown = TerminalFilter()
    parts = [shown.feed(data[at : at + size]) for at in range(0, len(data), size)]
    assert "".join(parts) == TerminalFilter().feed(data)
    assert all(char.isprintable() or char in "\r\n\t" for char in "".join(parts))


def test_an_escape_sequence_goes_with_all_its_letters() -> None:
    assert TerminalFilter().feed(b"a\x1b[1;31mb\x1b[Kc\r\n") == "abc\r\n"


def test_a_url_loses_user_and_password_and_nothing_else() -> None:
    text = "fetch https://ada:s3cret@host.example/a@b.git and ssh://git@host.example/x"
    assert hide_secrets(text) == "fetch https://host.example/a@b.git and ssh://host.example/x"


def test_a_secret_that_is_cut_in_two_does_not_reach_the_terminal() -> None:
    shown = TerminalFilter()
    parts = [shown.feed(part) for part in (b"10%\rclone of 'https://ada:s3c", b"ret@host/x'\n")]
    assert parts == ["10%\r", "clone of 'https://host/x'\n"]


def test_a_line_that_never_ends_is_not_kept_for_ever() -> None:
    shown = TerminalFilter()
    assert sum(len(shown.feed(b"a" * 10_000)) for _ in range(10)) >= 70_000


def test_a_password_may_have_an_at_in_it() -> None:
    assert hide_secrets("https://ada:p@ss:w@host.example/x") == "https://host.example/x"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_name_in_an_advice_is_one_word_for_a_shell(text: str) -> None:
    assert shlex.split(shell_word(text)) == [one_line(text)]
