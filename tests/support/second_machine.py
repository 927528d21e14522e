"""Two machines on one: ours with its commands, and a host that only a real sshd leads to.

Each has folders and a HOME of its own. The host is in our llorch.toml and ~/.ssh/config under the
name it is given, and its host key is known unless a test wants otherwise.
"""

import contextlib
import sys
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path

from support.home import Finished, Home
from support.sshd import Sshd, running_sshd
from support.waiting import until_sync

__all__ = ["SecondMachine", "second_machine"]

PROGRAM = Path(sys.executable).with_name("llorch-pool")


@dataclass
class SecondMachine:
    """ours: where the commands are typed; there: the host's own commands and processes."""

    name: str
    ours: Home
    there: Home
    sshd: Sshd

    @property
    def user_home(self) -> Path:
        """The HOME of whoever types the commands."""
        return Path(self.ours.env["HOME"])

    @property
    def config(self) -> Path:
        """Our llorch.toml."""
        return self.ours.folder / "config" / "llorch.toml"

    def write_host(self, **values: str) -> None:
        """Write the host's table of llorch.toml; without values it is found by SSH alone."""
        table = {"ssh": self.name, "command": str(PROGRAM), "home": str(self.there.folder)}
        lines = [f'{key} = "{value}"\n' for key, value in (table | values).items() if value]
        self.config.parent.mkdir(parents=True, exist_ok=True)
        self.config.write_text(f"[hosts.{self.name}]\n" + "".join(lines))

    def know_nobody(self) -> None:
        """Forget every host key."""
        (self.user_home / ".ssh" / "known_hosts").unlink()

    def at(self, *args: str, timeout_s: float = 60.0) -> Finished:
        """Run `llorch pool ARGS --host NAME`."""
        return self.ours.llorch("pool", *args, "--host", self.name, timeout_s=timeout_s)


@contextlib.contextmanager
def second_machine(
    folder: Path, name: str = "mac", *, there_env: Mapping[str, str] | None = None
) -> Generator[SecondMachine]:
    """Give a host that can be logged in to; nothing of it runs afterwards."""
    there_env = {"LLORCH_POOL_BIND": "127.0.0.1:0", **(there_env or {})}
    ours_home, there_home = folder / "our-user", folder / "their-user"
    for home in (ours_home, there_home):
        (home / ".ssh").mkdir(parents=True, mode=0o700)
    told = {"HOME": str(there_home), **there_env}
    settings = "SetEnv " + " ".join(f'{key}="{value}"' for key, value in told.items())
    ours = Home(folder / "ours", {"HOME": str(ours_home), "SSH_AUTH_SOCK": ""})
    there = Home(folder / "there", told)
    for home in (ours, there):
        home.folder.mkdir()
    with running_sshd(folder / "sshd", settings=settings) as sshd:
        (ours_home / ".ssh" / "config").write_text(sshd.ssh_config(name))
        (ours_home / ".ssh" / "known_hosts").write_text(sshd.known_hosts)
        machine = SecondMachine(name, ours, there, sshd)
        machine.write_host()
        try:
            yield machine
        finally:
            there.pool("daemon", "stop", "--workers").must()
            until_sync(lambda: not there.processes(), what="the end of the host's processes")
