"""The command tree: what it offers, what it must never offer, and how light its help is."""

import json
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from orchestrator_core.console.lazy_group import LazyGroup
from pool_ctl.main import cli

HEAVY = ("httpx", "pydantic", "rich", "yaml", "asyncio", "pool_core")

PROBE = """
import json, sys
from pool_ctl.main import cli
cli.main({argv!r}, prog_name="llorch-pool", standalone_mode=False)
print(json.dumps([name for name in {heavy!r} if name in sys.modules]), file=sys.stderr)
"""


def walk(
    command: click.Command, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from walk(below, (*path, name))


TREE = dict(walk(cli))


def test_offers_the_documented_commands() -> None:
    leaves = {" ".join(path) for path, it in TREE.items() if not isinstance(it, click.Group)}
    leaves = {leaf for leaf in leaves if not leaf.startswith("git ")}
    assert leaves == {
        "status",
        "devices",
        "worker spawn",
        "worker stop",
        "worker list",
        "worker logs",
        "daemon start",
        "daemon stop",
        "daemon status",
        "daemon logs",
        "daemon drain",
        "daemon resume",
        "daemon join",
        "daemon leave",
        "daemon install-service",
        "dev doctor",
        "dev setup",
        "models catalog",
        "models list",
        "models download",
        "models info",
        "models verify",
        "models delete",
        "models disk-usage",
        "models import",
        "remote-exec",
    }


@pytest.mark.parametrize("word", ["chat", "repl", "interactive", "shell"])
def test_there_is_nothing_to_talk_to(word: str) -> None:
    assert all(word not in path for path in TREE)
    result = CliRunner().invoke(cli, [word])
    assert result.exit_code == 2


@pytest.mark.parametrize(
    "path", [(), ("worker",), ("models",), ("daemon",), ("dev",)], ids=" ".join
)
def test_a_bare_group_prints_its_help_and_ends_well(path: tuple[str, ...]) -> None:
    result = CliRunner().invoke(cli, path)
    assert result.exit_code == 0
    assert "Commands:" in result.stdout


@pytest.mark.parametrize("path", sorted(TREE), ids=" ".join)
def test_every_command_has_help_worth_reading(path: tuple[str, ...]) -> None:
    command = TREE[path]
    result = CliRunner().invoke(cli, [*path, "--help"])
    assert result.exit_code == 0
    assert command.help
    assert command.epilog or (path and isinstance(command, click.Group))
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name


def test_the_short_help_of_the_table_is_the_commands_own() -> None:
    for path, command in TREE.items():
        if isinstance(command, LazyGroup):
            for name, lazy in command.lazy.items():
                own = TREE[*path, name].get_short_help_str(200)
                assert lazy.short_help == own, name


@pytest.mark.parametrize("path", sorted(TREE), ids=" ".join)
def test_data_commands_take_the_common_options(path: tuple[str, ...]) -> None:
    command = TREE[path]
    # What it runs has the options; it is never typed.
    if isinstance(command, click.Group) or path == ("remote-exec",):
        return
    names = {name for parameter in command.params for name in parameter.opts}
    assert {"--format", "--quiet", "--no-color"} <= names
    # The one of `daemon join` is an orchestrator's.
    takes_a_pool = path[0] not in ("daemon", "dev", "git") or path == ("daemon", "join")
    assert ("--url" in names) == takes_a_pool


@pytest.mark.parametrize(
    "argv",
    [
        ["--help"],
        ["--version"],
        ["worker", "--help"],
        ["worker", "spawn", "--help"],
        ["models", "--help"],
        ["models", "download", "--help"],
        ["models", "info", "--help"],
        ["models", "delete", "--help"],
        ["dev", "setup", "--help"],
        ["daemon"],
        ["dev"],
    ],
    ids=" ".join,
)
def test_help_loads_nothing_heavy(argv: list[str]) -> None:
    probe = PROBE.format(argv=argv, heavy=HEAVY)
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout
    assert json.loads(done.stderr) == []
