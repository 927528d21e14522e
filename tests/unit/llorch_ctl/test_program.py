"""The program as a whole: its tree, its version, its speed of answering --help."""

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from llorch_ctl.main import cli

PROGRAMS = ("llorch_ctl.main", "pool_ctl.main")
HEAVY = ("httpx", "asyncssh", "pydantic", "rich", "yaml", "psutil")
ASK_EVERY_HELP = """
import json, sys
from importlib import import_module
from click.testing import CliRunner
module, paths, heavy = json.loads(sys.argv[1])
cli = import_module(module).cli
codes = {CliRunner().invoke(cli, [*path, "--help"]).exit_code for path in paths}
print(json.dumps([sorted(codes), sorted(set(heavy) & set(sys.modules))]))
"""


def walk(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=command.name)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from walk(child, (*path, name))


def program(module: str) -> click.Group:
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not built yet")
    return importlib.import_module(module).cli


@pytest.mark.parametrize("module", PROGRAMS)
def test_help_of_every_command_imports_nothing_heavy(module: str) -> None:
    question = json.dumps([module, list(walk(program(module))), HEAVY])
    done = subprocess.run(
        [sys.executable, "-c", ASK_EVERY_HELP, question],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == [[0], []]


@pytest.mark.parametrize("module", PROGRAMS)
def test_there_is_no_chat_anywhere(module: str) -> None:
    names = {name for path in walk(program(module)) for name in path}
    assert not names & {"chat", "repl", "interactive", "conversation"}
    for word in ("chat", "repl", "interactive"):
        result = CliRunner().invoke(program(module), [word])
        assert result.exit_code == 2
        assert f"No such command '{word}'" in result.stderr


@pytest.mark.parametrize("module", PROGRAMS)
def test_bare_groups_print_their_help_and_end_well(module: str) -> None:
    for path in walk(program(module)):
        command: click.Command = program(module)
        for name in path:
            assert isinstance(command, click.Group)
            child = command.get_command(click.Context(command), name)
            assert child is not None
            command = child
        if isinstance(command, click.Group):
            result = CliRunner().invoke(program(module), path)
            assert (result.exit_code, result.stderr) == (0, "")
            assert result.stdout.startswith("Usage: ")


@pytest.mark.parametrize("module", PROGRAMS)
def test_every_line_of_the_help_is_the_commands_own(module: str) -> None:
    root = program(module)
    listed = CliRunner().invoke(root, ["--help"], terminal_width=200).stdout
    context = click.Context(root)
    for name in root.list_commands(context):
        child = root.get_command(context, name)
        assert child is not None
        assert child.help
        if not isinstance(child, click.Group):
            assert child.get_short_help_str(200) in listed


def test_version_names_the_program() -> None:
    result = CliRunner().invoke(cli, ["--version"])
    assert (result.exit_code, result.stdout.split()[0]) == (0, "llorch")


def test_console_script_runs_without_a_terminal(tmp_path: Path) -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "llorch"],
        env={"LLORCH_HOME": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("Usage: llorch")
    assert list(tmp_path.iterdir()) == []
