"""One host of a lab: its home, its commands, its processes, its cable and its sshd."""

import contextlib
import signal
import subprocess
import sys
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from support.home import Finished
from support.lab_kernel import (
    SSHD,
    Listener,
    children,
    family,
    inside,
    is_alive,
    listeners,
    namespace,
    runs,
    signal_if_there,
)
from support.waiting import until_sync

__all__ = ["PATH", "LabHost"]

_PROGRAMS: Final = Path(sys.executable).parent
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SSHD_CONFIG: Final = """\
Port 22
HostKey {folder}/hostkey
PidFile none
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
AuthorizedKeysFile .ssh/authorized_keys
StrictModes yes
UseDNS no
PrintMotd no
Subsystem sftp internal-sftp
LogLevel VERBOSE
"""


@dataclass(slots=True)
class LabHost:
    """One host: its name, its address, its home, and everything that runs on it."""

    name: str
    address: str
    folder: Path
    switch_pid: int
    holder: subprocess.Popen[bytes]
    pid: int
    env: dict[str, str] = field(default_factory=dict[str, str])
    sshd: subprocess.Popen[bytes] | None = None

    @property
    def home(self) -> Path:
        """What this host calls /root, as this process sees it."""
        return self.folder / "home"

    @property
    def cable(self) -> str:
        """The switch's end of it; names of links have 15 letters at most."""
        return f"v{self.name}"[:15]

    @property
    def sshd_log(self) -> str:
        """What the sshd has said so far."""
        return (self.folder / "sshd.log").read_text("utf-8", errors="replace")

    @property
    def host_key(self) -> str:
        """The public host key, as known_hosts spells it behind the name."""
        return " ".join((self.folder / "hostkey.pub").read_text("ascii").split()[:2])

    def argv(self, *argv: str) -> list[str]:
        """The same command line, run on this host."""
        return ["nsenter", "-t", str(self.pid), "-n", "-p", "-m", "-u", "--", *argv]

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """What a process of this host inherits."""
        return {**self.env, **(more or {})}

    def run(
        self,
        *argv: str,
        env: Mapping[str, str] | None = None,
        timeout_s: float = 60.0,
        stdin: str | None = None,
    ) -> Finished:
        """Run a command here to its end."""
        done = subprocess.run(
            self.argv(*argv),
            env=self.environment(env),
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        return Finished(argv, done.returncode, done.stdout, done.stderr)

    def llorch(
        self, *args: str, env: Mapping[str, str] | None = None, timeout_s: float = 60.0
    ) -> Finished:
        """Run `llorch` of this checkout here."""
        return self.run(str(_PROGRAMS / "llorch"), *args, env=env, timeout_s=timeout_s)

    @contextlib.contextmanager
    def running(
        self, *argv: str, env: Mapping[str, str] | None = None
    ) -> Generator[subprocess.Popen[str]]:
        """Run a command beside the test, its stdout line by line, and end it with the block."""
        with subprocess.Popen(
            self.argv(*argv),
            env=self.environment(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                # nsenter would go alone and leave what it started.
                for child in children(process.pid):
                    signal_if_there(child, signal.SIGKILL)
                process.kill()

    def processes(self) -> list[psutil.Process]:
        """Everything that runs here but its first process, with the pids of this machine."""
        own = namespace(self.pid)
        found = (process for process in psutil.process_iter() if process.pid != self.pid)
        return [process for process in found if namespace(process.pid) == own]

    def named(self, program: str) -> list[psutil.Process]:
        """The living processes of one program, by the first words of their command lines."""
        return [process for process in self.processes() if runs(process, program)]

    def kill_everything_but_sshd(self) -> list[int]:
        """SIGKILL whatever runs here besides the sshd that waits for logins."""
        spared = set[int]() if self.sshd is None else set(family(self.sshd.pid))
        victims = [process for process in self.processes() if process.pid not in spared]
        for process in victims:
            signal_if_there(process.pid, signal.SIGKILL)
        until_sync(lambda: not any(map(is_alive, victims)), timeout_s=10.0)
        return [process.pid for process in victims]

    def listeners(self) -> list[Listener]:
        """Every TCP socket of this host that listens."""
        table = Path(f"/proc/{self.pid}/net")
        return [*listeners(table / "tcp"), *listeners(table / "tcp6")]

    def cut(self) -> None:
        """Pull the cable: packets vanish, and nobody is told."""
        self._switch("link", "set", self.cable, "down")

    def heal(self) -> None:
        """Plug the cable in again."""
        self._switch("link", "set", self.cable, "up")

    @property
    def is_on(self) -> bool:
        """Whether it has power."""
        return self.holder.poll() is None

    def power_off(self) -> None:
        """End the host and everything on it at once; its peers are told nothing."""
        # The cable goes first: a dying process would say goodbye to whoever is connected.
        self._switch("link", "delete", self.cable)
        signal_if_there(self.pid, signal.SIGKILL)
        self.holder.wait(timeout=10)
        self.stop_sshd()

    def stop_sshd(self) -> None:
        """Let nobody in any more; whoever is in is thrown out."""
        if self.sshd is not None:
            for pid in family(self.sshd.pid):
                signal_if_there(pid, signal.SIGKILL)
            self.sshd.wait(timeout=10)
            self.sshd = None

    def start_sshd(self) -> None:
        """Let people in; returns once the port answers."""
        config = self.folder / "sshd_config"
        config.write_text(_SSHD_CONFIG.format(folder=self.folder), "ascii")
        with (self.folder / "sshd.log").open("ab") as log:
            self.sshd = subprocess.Popen(
                self.argv("env", "-i", f"PATH={PATH}", str(SSHD), "-D", "-e", "-f", str(config)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        until_sync(lambda: any(it.port == 22 for it in self.listeners()), timeout_s=10.0)

    def _switch(self, *command: str) -> None:
        inside(self.switch_pid, "ip", *command)
