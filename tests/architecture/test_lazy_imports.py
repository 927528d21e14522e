"""--help answers before anything heavy is imported: measured by the interpreter's own import log."""

import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

PROGRAMS = {"llorch": "llorch_ctl.main", "llorch-pool": "pool_ctl.main"}
# What takes long to import, and what drags such things in.
HEAVY = frozenset(
    {"httpx", "httpcore", "asyncssh", "cryptography", "pydantic", "rich", "yaml", "psutil"}
)
ASK_ALL = """
import sys
from importlib import import_module
from click.testing import CliRunner
cli = import_module(sys.argv[1]).cli
for words in sys.argv[2:]:
    result = CliRunner().invoke(cli, [*words.split(), "--help"], prog_name="x")
    assert result.exit_code == 0, (words, result.output)
"""


def imported(*argv: str) -> set[str]:
    """The packages that a Python process imported, by -X importtime."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *argv],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    lines = re.findall(r"^import time:.*\|\s*([\w.]+)$", done.stderr, re.MULTILINE)
    return {name.partition(".")[0] for name in lines}


def commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from commands(below, (*path, name))


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("argv", [("--help",), ("--version",)], ids=" ".join)
def test_the_console_scripts_answer_without_anything_heavy(
    program: str, argv: tuple[str, ...]
) -> None:
    script = Path(sys.executable).with_name(program)
    found = imported(str(script), *argv)
    assert "click" in found
    assert found & (HEAVY | {"asyncio"}) == set()


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_help_of_every_command_imports_nothing_heavy(program: str) -> None:
    module = PROGRAMS[program]
    cli = importlib.import_module(module).cli
    paths = [" ".join(path) for path in commands(cli)]
    found = imported("-c", ASK_ALL, module, *paths)
    assert found & HEAVY == set()


def test_the_measure_itself_sees_what_is_heavy() -> None:
    assert {"pydantic", "asyncio"} <= imported("-c", "import pydantic, asyncio")


@pytest.mark.parametrize("daemon", ["orchestratord", "pool-managerd"])
def test_a_daemon_tells_its_settings_without_loading_its_server(
    daemon: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLORCH_HOME", str(tmp_path))
    found = imported(str(Path(sys.executable).with_name(daemon)), "--show-config")
    assert "pydantic" in found
    assert found & {"fastapi", "uvicorn", "httpx", "asyncssh"} == set()
