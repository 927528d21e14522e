"""Data is shown as a table, JSON or YAML on stdout; talk goes to stderr."""

import io
import json
import sys
from collections.abc import Iterator

import pytest
import yaml

from orchestrator_core.console.render import Column, Format, Output, cell

COLUMNS = (Column("id", "id"), Column("size", "size", right=True), Column("note", "note"))
ROWS = [{"id": "a", "size": 1, "hidden": True}, {"id": "bbb", "size": 1000, "note": "x"}]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_pipe_gets_plain_aligned_columns(capsys: pytest.CaptureFixture[str]) -> None:
    Output().rows(ROWS, COLUMNS)
    out, err = capsys.readouterr()
    assert out == "ID   SIZE  NOTE\na       1  -\nbbb  1000  x\n"
    assert err == ""


def test_terminal_gets_a_table_and_no_color_a_plain_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    Output().rows(ROWS, COLUMNS)
    assert "\x1b[" in terminal.getvalue()
    for variable, no_color in (("1", False), ("", True)):
        monkeypatch.setenv("NO_COLOR", variable)
        terminal.truncate(0)
        terminal.seek(0)
        Output(no_color=no_color).rows(ROWS, COLUMNS)
        assert "\x1b" not in terminal.getvalue()


def test_json_is_an_array_of_whole_rows(capsys: pytest.CaptureFixture[str]) -> None:
    Output(Format.JSON).rows(ROWS, COLUMNS)
    assert json.loads(capsys.readouterr().out) == ROWS
    Output(Format.JSON).rows([], COLUMNS, empty="nothing")
    assert capsys.readouterr() == ("[]\n", "")


def test_yaml_keeps_order_and_letters(capsys: pytest.CaptureFixture[str]) -> None:
    Output(Format.YAML).rows([{"z": "ä", "a": None}], COLUMNS)
    out = capsys.readouterr().out
    assert out == "- z: ä\n  a: null\n"
    assert yaml.safe_load(out) == [{"z": "ä", "a": None}]


def test_empty_table_talks_on_stderr_unless_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    Output().rows([], COLUMNS, empty="no jobs")
    assert capsys.readouterr() == ("", "no jobs\n")
    Output(quiet=True).rows([], COLUMNS, empty="no jobs")
    assert capsys.readouterr() == ("", "")


def test_record_leaves_out_what_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    Output().record({"id": "a", "size": 0, "note": None}, COLUMNS)
    assert capsys.readouterr().out == "id    a\nsize  0\n"
    Output(Format.JSON).record({"id": "a", "note": None}, COLUMNS)
    assert json.loads(capsys.readouterr().out) == {"id": "a", "note": None}


def test_quiet_does_not_hide_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    out = Output(quiet=True)
    out.say("talk")
    out.warn("careful")
    assert capsys.readouterr().err == "warning: careful\n"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        ("", "-"),
        ([], "-"),
        ({}, "-"),
        (False, "no"),
        (True, "yes"),
        (0, "0"),
        (["a", 1], "a, 1"),
        ({"a": 1, "b": None}, "a=1, b=-"),
        ("red\x1b[31m\ntext", "red [31m text"),
    ],
)
def test_cell_is_one_harmless_line(value: object, text: str) -> None:
    assert cell(value) == text


PAGES = [[{"id": str(at), "size": at} for at in range(start, start + 3)] for start in (8, 11)]


def test_pages_of_json_are_one_array(capsys: pytest.CaptureFixture[str]) -> None:
    assert Output(Format.JSON).pages(PAGES, COLUMNS) == 6
    whole = capsys.readouterr().out
    assert whole == json.dumps([row for page in PAGES for row in page], indent=2) + "\n"
    assert Output(Format.JSON).pages([[]], COLUMNS, empty="none") == 0
    assert capsys.readouterr() == ("[]\n", "")


def test_pages_of_yaml_are_one_list(capsys: pytest.CaptureFixture[str]) -> None:
    Output(Format.YAML).pages(PAGES, COLUMNS)
    assert yaml.safe_load(capsys.readouterr().out) == [row for page in PAGES for row in page]
    Output(Format.YAML).pages([], COLUMNS)
    assert yaml.safe_load(capsys.readouterr().out) == []


def test_pages_of_a_table_keep_their_columns(capsys: pytest.CaptureFixture[str]) -> None:
    Output().pages([[{"id": "long-one", "size": 1}], [{"id": "b", "size": 22222}]], COLUMNS)
    assert capsys.readouterr().out == (
        "ID        SIZE  NOTE\nlong-one     1  -\nb         22222  -\n"
    )
    Output().pages(iter([]), COLUMNS, empty="nothing")
    assert capsys.readouterr() == ("", "nothing\n")


def test_a_page_is_shown_before_the_next_one_is_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    seen: list[str] = []

    def pages() -> Iterator[list[dict[str, object]]]:
        yield [{"id": "a"}]
        seen.append(capsys.readouterr().out)
        yield [{"id": "b"}]

    Output().pages(pages(), COLUMNS)
    assert "a" in seen[0]
    assert capsys.readouterr().out.startswith("b")


def test_things_without_end_are_shown_one_by_one(capsys: pytest.CaptureFixture[str]) -> None:
    for shape in (Format.JSON, Format.YAML):
        Output(shape).item({"id": 1, "t": "a\nü"})
        Output(shape).item({"id": 2})
    assert capsys.readouterr().out == (
        '{"id":1,"t":"a\\nü"}\n{"id":2}\n' + "---\nid: 1\nt: 'a\n\n  ü'\n---\nid: 2\n"
    )
