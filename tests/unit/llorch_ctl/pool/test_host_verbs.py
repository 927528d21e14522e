"""llorch pool VERB: its help, its refusals, and that its table is llorch-pool's own."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from llorch_ctl.commands.pool.verbs import VERBS
from llorch_ctl.main import cli
from pool_ctl.main import cli as pool_cli


def run(tmp_path: Path, *args: str) -> Result:
    env = {"LLORCH_HOME": str(tmp_path), "HOME": str(tmp_path)}
    return CliRunner().invoke(cli, ["pool", *args], env=env)


def write_hosts(tmp_path: Path, text: str) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "llorch.toml").write_text(text)


def test_the_table_is_what_llorch_pool_has() -> None:
    context = click.Context(pool_cli)
    theirs = {name: pool_cli.get_command(context, name) for name in pool_cli.list_commands(context)}
    ours = {name: set(verb.parts) for name, verb in VERBS.items()}
    assert ours == {
        name: set(command.list_commands(context)) if isinstance(command, click.Group) else set()
        for name, command in theirs.items()
        if name not in ("status", "remote-exec") and command is not None
    }


def test_without_a_host_the_help_says_what_there_is(tmp_path: Path) -> None:
    for args in (["worker"], ["worker", "--help"], ["worker", "spawn", "--help"]):
        result = run(tmp_path, *args)
        assert (result.exit_code, result.stderr) == (0, "")
        assert "There are: spawn, stop, list, logs." in result.stdout
        assert "--host NAME" in result.stdout


def test_a_verb_without_a_host_asks_for_one(tmp_path: Path) -> None:
    write_hosts(tmp_path, "[hosts.mac]\n[hosts.workstation]\n")
    result = run(tmp_path, "worker", "list")
    assert result.exit_code == 2
    last = result.stderr.splitlines()[-1]
    assert "--host mac|workstation" in last
    assert "llorch-pool worker" in last


def test_bare_devices_need_a_host_as_well(tmp_path: Path) -> None:
    assert run(tmp_path, "devices").exit_code == 2


@pytest.mark.parametrize(
    ("args", "code", "word"),
    [
        (["git", "pull", "--host", "mac", "--via", "http"], 2, "--via ssh only"),
        (["daemon", "status", "--host", "mac", "--via", "http"], 2, "--via ssh only"),
        (["models", "import", "x", "--host", "mac", "--via", "http"], 2, "--via ssh only"),
        (["worker", "list", "--host", "mac", "--via", "pigeon"], 2, "ssh, http or auto"),
        (["worker", "list", "--host"], 2, "requires an argument"),
        (["worker", "list", "--host", "auto"], 2, "--host auto chooses"),
        (["worker", "spawn", "cpu", "--model", "m", "--host", "auto"], 3, "names no host"),
        (["worker", "list", "--host", "mac", "--via", "http"], 4, "no key opens"),
        (["list", "--host", "mac"], 2, "No such option"),
    ],
)
def test_what_cannot_be_done_is_said_before_anybody_is_called(
    tmp_path: Path, args: list[str], code: int, word: str
) -> None:
    result = run(tmp_path, *args)
    assert (result.exit_code, result.stdout) == (code, "")
    assert word in result.stderr.splitlines()[-1]


HOSTILE = [
    "-oProxyCommand=touch${IFS}x",
    "--",
    "a b",
    "mac\nother",
    "mac\x00",
    "'mac'",
    '"mac"',
    "$(id)",
    "`id`",
    "mac;id",
    "m\u0430c",
    "\uff4dac",
    "mac\u202e",
    "x" * 300,
    "ssh://",
    "ssh://me@",
    "ssh://mac/path",
    "me@you@mac",
    "mac:99999",
    "mac:-1",
    "[::1",
    "[mac]:22",
    "::1:x",
    "../mac",
    "fe80::1%eth0",
]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("command", ["worker", "trust"])
def test_a_hostile_name_is_one_clear_line_and_nobody_is_looked_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, command: str
) -> None:
    def look_up(*_: object, **__: object) -> None:
        raise AssertionError("a name that is none was looked up")

    monkeypatch.setattr("socket.getaddrinfo", look_up)
    monkeypatch.setattr("subprocess.Popen", look_up)
    # A dash before a word is an option for click; behind `=` and `--` it is the value that we read.
    args = ["pool", "worker", "list", f"--host={name}"]
    if command == "trust":
        args = ["host", "trust", "--", name]
    env = {"LLORCH_HOME": str(tmp_path), "HOME": str(tmp_path)}
    result = CliRunner().invoke(cli, args, env=env)
    assert result.exit_code in (1, 2)
    assert result.stdout == ""
    (line,) = [line for line in result.stderr.splitlines() if line.lower().startswith("error")]
    assert line.isascii()
    assert line.isprintable()
    assert len(line) < 300
    assert list(tmp_path.iterdir()) == []
