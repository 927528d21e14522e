"""Groups import late; every ending of a command becomes one line and its exit code."""

import errno
import os
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from orchestrator_core.console.exits import CrashPolicy, complain, ended_by
from orchestrator_core.console.lazy_group import Lazy, LazyGroup, ProgramGroup
from orchestrator_core.console.options import Seconds, Url, output_options
from orchestrator_core.console.render import Output
from orchestrator_core.errors import Code, HostError, Refusal, error_for

MODULE = "made_up_commands"


@click.command(short_help="Do it.")
@click.option("--how", default="well")
@output_options
def act(*, how: str, out: Output) -> int | None:
    """Do what the test says."""
    match how:
        case "well":
            out.text(f"done as {out.shape}")
        case "coded":
            return 5
        case "interrupted":
            raise KeyboardInterrupt
        case "aborted":
            raise click.Abort
        case "defect":
            raise ZeroDivisionError("first\nsecond")
        case "full":
            raise OSError(errno.ENOSPC, "No space left on device")
        case "full disk":
            raise OSError(errno.ENOSPC, "No space left on device", "/somewhere")
        case "logged":
            details = {"log_lines": ["one", "two"]}
            raise HostError(Refusal(Code.INTERNAL, "it died", details))
        case "usage":
            raise click.BadParameter("bad", param_hint="--how")
        case code:
            raise error_for(Refusal(Code(code), "no luck"))
    return None


@pytest.fixture
def program(tmp_path: Path) -> Iterator[ProgramGroup]:
    module = types.ModuleType(MODULE)
    module.act = act  # type: ignore[attr-defined]
    module.wrong = "no command"  # type: ignore[attr-defined]
    sys.modules[MODULE] = module
    lazy = {
        "act": Lazy(f"{MODULE}:act", "Do it."),
        "missing": Lazy("nowhere:nothing", "Not there."),
        "wrong": Lazy(f"{MODULE}:wrong", "No command."),
    }
    log = tmp_path / "log" / "crash.log"
    yield ProgramGroup(
        "prog", lazy=lazy, help="Help.", crash_policy=lambda: CrashPolicy(log, False)
    )
    del sys.modules[MODULE]


def run(program: click.Command, *args: str) -> Result:
    return CliRunner().invoke(program, args)


def test_help_lists_commands_without_importing_them(program: ProgramGroup) -> None:
    result = run(program, "--help")
    assert result.exit_code == 0
    assert "missing  Not there." in result.stdout


def test_bare_group_prints_its_help_and_ends_well(program: ProgramGroup) -> None:
    result = run(program)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("Usage: prog")
    assert run(LazyGroup("sub", help="Sub.", commands=[act])).stdout.count("Do it.") == 1


def test_only_the_command_that_runs_is_imported(program: ProgramGroup) -> None:
    result = run(program, "act", "--format", "json")
    assert (result.exit_code, result.stdout) == (0, "done as json\n")


def test_unknown_command_is_a_usage_error(program: ProgramGroup) -> None:
    result = run(LazyGroup("sub", help="Sub.", commands=[act]), "chat")
    assert result.exit_code == 2
    assert "No such command 'chat'" in result.stderr


def test_table_that_names_no_command_is_a_defect(program: ProgramGroup, tmp_path: Path) -> None:
    result = run(program, "wrong")
    assert result.exit_code == 1
    assert "is not a command" in result.stderr


@pytest.mark.parametrize(
    ("how", "exit_code"),
    [
        ("well", 0),
        ("coded", 5),
        ("usage", 2),
        ("interrupted", 130),
        ("aborted", 130),
        (Code.INVALID_REQUEST, 1),
        (Code.BAD_KEY, 4),
        (Code.SCOPE, 4),
        (Code.JOB_NOT_FOUND, 3),
        (Code.UNREACHABLE, 5),
        (Code.DRAINING, 5),
        (Code.DEADLINE, 124),
        (Code.TIMEOUT, 124),
        (Code.QUEUE_FULL, 1),
        (Code.PORT_IN_USE, 1),
        (Code.CONFIG_INVALID, 1),
    ],
)
def test_outcome_has_its_exit_code(program: ProgramGroup, how: str, exit_code: int) -> None:
    result = run(program, "act", "--how", how)
    assert result.exit_code == exit_code
    assert "Traceback" not in result.output
    if how in Code.__members__:
        assert result.stderr == f"error: no luck ({how})\n"


def test_log_lines_follow_their_error(program: ProgramGroup) -> None:
    assert (
        run(program, "act", "--how", "logged").stderr == "error: it died (INTERNAL)\n  one\n  two\n"
    )


def test_defect_ends_in_one_line_and_its_traceback_in_a_private_log(
    program: ProgramGroup, tmp_path: Path
) -> None:
    log = tmp_path / "log" / "crash.log"
    result = run(program, "act", "--how", "defect")
    assert result.exit_code == 1
    assert result.stderr == (
        f"error: ZeroDivisionError: first; the traceback is in {log} (INTERNAL)\n"
    )
    assert "Traceback" in log.read_text()
    assert log.stat().st_mode & 0o777 == 0o600


def test_output_that_finds_no_room_is_no_defect(program: ProgramGroup) -> None:
    result = run(program, "act", "--how", "full")
    assert result.exit_code == 5
    assert result.stderr == (
        "error: the output cannot be written: No space left on device (DISK_LOW)\n"
    )
    named = run(program, "act", "--how", "full disk")
    assert (named.exit_code, "traceback" in named.stderr) == (1, True)


def test_defect_is_shown_when_asked_for_and_when_it_cannot_be_logged(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("a file where a folder should be")
    policy = CrashPolicy(tmp_path / "log" / "crash.log", show=True)
    sys.modules[MODULE] = types.ModuleType(MODULE)
    sys.modules[MODULE].act = act  # type: ignore[attr-defined]
    lazy = {"act": Lazy(f"{MODULE}:act", "Do it.")}
    result = run(ProgramGroup("p", lazy=lazy, help="H", crash_policy=lambda: policy), "act", "--how", "defect")  # fmt: skip
    del sys.modules[MODULE]
    assert "LLORCH_DEBUG=1" in result.stderr
    assert "Traceback" in result.stderr


@pytest.mark.parametrize(
    ("code", "message", "told"),
    [
        (Code.RATE, "too many", "too many; try again in 7 s"),
        (Code.RATE, "too many: try again in 7 s", "too many: try again in 7 s"),
        (Code.LOADING, "it loads", "it loads; try again in 7 s"),
        (Code.SCOPE, "not you", "not you"),
    ],
)
def test_when_to_try_again_is_told_once(
    capsys: pytest.CaptureFixture[str], code: Code, message: str, told: str
) -> None:
    complain(error_for(Refusal(code, message, retry_after_s=7)))
    assert capsys.readouterr().err == f"error: {told} ({code})\n"


def test_bytes_that_are_no_text_are_wrong_usage_wherever_they_show(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argument = os.fsdecode(b"\xff")
    code = ended_by(lambda: argument.encode("utf-8"), lambda: CrashPolicy(tmp_path / "log", False))
    assert code == 2
    assert capsys.readouterr().err == "error: an argument is not UTF-8 text (INVALID_REQUEST)\n"
    assert not (tmp_path / "log").exists()


@pytest.mark.parametrize("word", ["nothing", "ftp://h", "http://", "http://a b", "http://a\udcffb"])
def test_an_address_that_nobody_can_call_is_wrong_usage(word: str) -> None:
    with pytest.raises(click.BadParameter, match="is not a URL like"):
        Url().convert(word, None, None)


@pytest.mark.parametrize("word", ["nan", "inf", "1e300"])
def test_a_time_that_no_alarm_takes_is_wrong_usage(word: str) -> None:
    with pytest.raises(click.BadParameter, match="is not a length of time"):
        Seconds(min=0).convert(word, None, None)
