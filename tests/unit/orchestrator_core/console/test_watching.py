"""Watching shows frame after frame, waits for a daemon that is away, and ends with Ctrl-C."""

import json
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from orchestrator_core.console.options import output_options
from orchestrator_core.console.render import Column, Format, Output
from orchestrator_core.console.watching import Rhythm, Watch, watch_option
from orchestrator_core.errors import Code, LlorchError, Refusal, error_for

AWAY = Refusal(Code.UNREACHABLE, "nothing answers")
COLUMNS = (Column("n", "n"),)


def rhythm(frames: int) -> Rhythm:
    """Ctrl-C comes after so many looks."""
    left = iter(range(frames - 1))

    def pause(_seconds: float) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt

    return Rhythm(pause=pause, unix_ms=lambda: 0)


def watched(shape: Format, looks: list[object], *, every_s: float | None = 1.0) -> int:
    out = Output(shape)
    steps: Iterator[object] = iter(looks)

    def look() -> object:
        found = next(steps)
        if isinstance(found, Refusal):
            raise error_for(found)
        return found

    watch = Watch(out, every_s, rhythm(len(looks)))
    return watch.run(look, lambda found: out.rows([{"n": found}], COLUMNS))


def test_without_a_rhythm_it_is_shown_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert watched(Format.JSON, [1], every_s=None) == 0
    assert json.loads(capsys.readouterr().out) == [{"n": 1}]


def test_json_is_one_document_per_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert watched(Format.JSON, [1, 2, 3]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line) for line in lines] == [[{"n": 1}], [{"n": 2}], [{"n": 3}]]


def test_yaml_is_one_document_after_the_other(capsys: pytest.CaptureFixture[str]) -> None:
    watched(Format.YAML, [1, 2])
    assert capsys.readouterr().out == "---\n- n: 1\n---\n- n: 2\n"


def test_a_pipe_gets_each_frame_below_its_time(capsys: pytest.CaptureFixture[str]) -> None:
    watched(Format.TABLE, [1, 2])
    moment = "1970-01-01T00:00:00.000Z"
    assert capsys.readouterr().out == f"{moment}\nN\n1\n\n{moment}\nN\n2\n"


def test_a_terminal_is_redrawn_in_place(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "dumb")
    watched(Format.TABLE, [1, 2])
    told = capsys.readouterr()
    assert told.out.count("\x1b[H\x1b[J") == 2
    assert "Ctrl-C ends it" in told.err


def test_a_daemon_that_is_away_is_waited_for_and_named_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert watched(Format.JSON, [1, AWAY, AWAY, 2]) == 0
    told = capsys.readouterr()
    assert told.out == '[{"n":1}]\n[{"n":2}]\n'
    assert told.err.count("nothing answers") == 1
    assert "looking again every 1 s" in told.err


def test_the_next_outage_is_told_again(capsys: pytest.CaptureFixture[str]) -> None:
    watched(Format.JSON, [AWAY, 1, AWAY])
    assert capsys.readouterr().err.count("nothing answers") == 2


@pytest.mark.parametrize("code", [Code.BAD_KEY, Code.JOB_NOT_FOUND])
def test_what_no_patience_cures_ends_it(code: Code) -> None:
    with pytest.raises(LlorchError):
        watched(Format.JSON, [1, Refusal(code, "no")])


def command(seen: list[float | None]) -> click.Command:
    @click.command()
    @output_options
    @watch_option
    def look(*, out: Output, watch: Watch) -> None:
        assert watch.out is out
        seen.append(watch.every_s)

    return look


@pytest.mark.parametrize(
    ("argv", "every_s"),
    [
        ((), None),
        (("--watch",), 2.0),
        (("--every", "5"), 5.0),
        (("--watch", "--every", "5"), 5.0),
        (("--watch", "--quiet"), 2.0),
    ],
)
def test_the_rhythm_may_be_left_out(argv: tuple[str, ...], every_s: float | None) -> None:
    seen: list[float | None] = []
    result = CliRunner().invoke(command(seen), argv)
    assert (result.exit_code, seen) == (0, [every_s])


@pytest.mark.parametrize("word", ["0", "-1", "nan", "soon", "0.01"])
def test_a_rhythm_that_is_none_is_wrong_usage(word: str) -> None:
    result = CliRunner().invoke(command([]), ["--every", word])
    assert result.exit_code == 2


def test_an_argument_may_stand_behind_it() -> None:
    seen: list[float | None] = []
    told: list[str] = []

    @click.command()
    @click.argument("job")
    @output_options
    @watch_option
    def look(*, job: str, out: Output, watch: Watch) -> None:
        assert watch.out is out
        told.append(job)
        seen.append(watch.every_s)

    result = CliRunner().invoke(look, ["--watch", "17"])
    assert (result.exit_code, told, seen) == (0, ["17"], [2.0])
