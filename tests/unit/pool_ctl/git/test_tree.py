"""What llorch-pool git offers, and how light its help is."""

import json
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from pool_ctl.commands.git.group import git
from pool_ctl.main import cli

HEAVY = ("httpx", "pydantic", "rich", "yaml", "asyncio", "selectors", "pool_core")
PROBE = """
import json, sys
from pool_ctl.main import cli
cli.main({argv!r}, prog_name="llorch-pool", standalone_mode=False)
print(json.dumps([name for name in {heavy!r} if name in sys.modules]), file=sys.stderr)
"""


def names(group: click.Group) -> list[str]:
    return group.list_commands(click.Context(group))


def test_the_verbs_are_those_of_the_plan() -> None:
    assert names(git) == ["status", "pull", "sync", "clean", "log", "branches", "submodules"]
    modules = git.commands["submodules"]
    assert isinstance(modules, click.Group)
    assert names(modules) == ["list", "status", "update", "reset", "branch"]


@pytest.mark.parametrize("words", [["git"], ["git", "submodules"]], ids=" ".join)
def test_a_bare_group_prints_its_help(words: list[str]) -> None:
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 0
    assert "Commands:" in result.stdout


@pytest.mark.parametrize("words", [["git", "--help"], ["git", "sync", "--help"]], ids=" ".join)
def test_help_loads_nothing_heavy(words: list[str]) -> None:
    probe = PROBE.format(argv=words, heavy=HEAVY)
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout
    assert json.loads(done.stderr) == []
