"""What the rows about hostile hosts share: commands typed in process, and what stands at the host."""

import contextlib
import dataclasses
import importlib.metadata
from collections.abc import Generator
from pathlib import Path
from typing import Final

import pytest
from click.testing import CliRunner, Result

from llorch_ctl.hosts import ways
from llorch_ctl.main import cli
from llorch_ctl.settings import CliSettings
from orchestrator_core.clients.ssh.login import Login
from support.second_machine import SecondMachine

__all__ = [
    "MAGIC",
    "VERSION",
    "WILLING",
    "at_mac",
    "be",
    "hello",
    "impatient_logins",
    "put_back",
    "refused",
    "start_file",
    "typed",
]

VERSION: Final = importlib.metadata.version("llorch-pool-ctl")
MAGIC: Final = r"\0LLORCH1\0"


def hello(version: str) -> str:
    """The line of a shell that greets as llorch-pool of this version does."""
    return rf"printf '{MAGIC}V\0\0\0\{len(version):03o}{version}'"


# What it is asked is dropped; then it says that all went well.
WILLING: Final = (
    rf"{hello(VERSION)}; head -c 5 >/dev/null; printf 'X\0\0\0\0010'; exec cat >/dev/null"
)


def be(mac: SecondMachine, text: str) -> None:
    """Put this in the place of llorch-pool at the host."""
    script = mac.there.folder / "odd llorch-pool"
    script.write_text(f"#!/bin/bash\n{text}\n")
    script.chmod(0o755)
    mac.write_host(command=str(script))


def start_file(mac: SecondMachine) -> Path:
    """What the shell of the host reads first."""
    return mac.user_home.parent / "their-user" / ".bashrc"


def typed(mac: SecondMachine, *args: str) -> Result:
    """Type a command."""
    result = CliRunner().invoke(cli, args, env=mac.ours.env, prog_name="llorch")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def refused(mac: SecondMachine, *args: str, code: int) -> str:
    """The one line of a command that was refused; misuse may show how it is used before."""
    result = typed(mac, *args)
    lines = result.stderr.strip().splitlines()
    assert (result.exit_code, result.stdout) == (code, ""), (args, result.output)
    assert all(line.isprintable() for line in lines), lines
    if lines[0].startswith("Usage: "):
        lines = [lines[-1]]
    (line,) = lines
    assert line.lower().startswith("error: "), line
    return line.partition(" ")[2]


def at_mac(mac: SecondMachine, code: int, *, host: str = "mac") -> str:
    """The one line of a command that a host was to run."""
    return refused(mac, "pool", "devices", "--host", host, code=code)


def impatient_logins(patch: pytest.MonkeyPatch) -> None:
    """Have little patience with hosts that never let anybody in."""
    real = ways.login

    def login(settings: CliSettings) -> Login:
        return dataclasses.replace(real(settings), connect_timeout_s=0.7)

    patch.setattr(ways, "login", login)


@contextlib.contextmanager
def put_back(machine: SecondMachine) -> Generator[SecondMachine]:
    """One machine serves every row: what a row writes is put back."""
    ssh = machine.user_home / ".ssh"
    texts = {file: file.read_text() for file in (machine.config, *ssh.iterdir())}
    try:
        yield machine
    finally:
        for file, text in texts.items():
            file.write_text(text)
        for left in (start_file(machine), machine.ours.folder / "state" / "known_hosts"):
            left.unlink(missing_ok=True)
