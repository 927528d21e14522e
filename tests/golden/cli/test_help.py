"""The help of every command is kept in git, so that a change of it is a change that is read."""

import importlib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from support.golden import Golden

FOLDER = Path(__file__).parent
PROGRAMS = {"llorch": "llorch_ctl.main", "llorch-pool": "pool_ctl.main"}


def walk(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from walk(child, (*path, name))


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_is_the_one_in_git(program: str, golden: Golden) -> None:
    module = PROGRAMS[program]
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not built yet")
    cli = importlib.import_module(module).cli
    pages = [
        f"$ {' '.join((program, *path))} --help\n"
        + CliRunner()
        .invoke(cli, [*path, "--help"], prog_name=program, terminal_width=100)
        .stdout.rstrip()
        for path in walk(cli)
    ]
    golden(FOLDER / f"{program}.txt", "\n\n\n".join(pages) + "\n")
