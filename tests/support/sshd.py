"""A real OpenSSH server on a free port of the loopback, for one user: this one."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.waiting import until_sync

__all__ = ["Sshd", "make_key", "needs_sshd", "running_sshd"]

_PROGRAM = Path("/usr/sbin/sshd")
# Without root a server cannot change the user, so everything belongs to whoever runs the tests.
_SETTINGS = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
StrictModes no
UsePAM no
UseDNS no
PrintMotd no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
AllowTcpForwarding yes
AllowStreamLocalForwarding yes
AcceptEnv LANG LC_* LLORCH_*
Subsystem sftp internal-sftp
LogLevel VERBOSE
{more}
"""

needs_sshd = pytest.mark.skipif(
    not (_PROGRAM.exists() and shutil.which("ssh-keygen")),
    reason="needs OpenSSH: apt-get install openssh-server",
)


def make_key(path: Path, *, kind: str = "ed25519", passphrase: str = "") -> str:
    """Make a key pair in this place, over an older one too, and return the public line."""
    for old in (path, path.with_name(f"{path.name}.pub")):
        old.unlink(missing_ok=True)
    argv = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "", "-f", str(path)]
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)
    return path.with_name(f"{path.name}.pub").read_text("ascii").strip()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class Sshd:
    """One server: where it listens, whom it lets in, and how it is treated badly."""

    folder: Path
    port: int
    user: str
    settings: str = ""
    host_key_line: str = ""
    _process: subprocess.Popen[bytes] | None = None

    @property
    def client_key(self) -> Path:
        """The private key that opens it."""
        return self.folder / "client_key"

    @property
    def log_path(self) -> Path:
        """What the server says."""
        return self.folder / "sshd.log"

    @property
    def known_hosts(self) -> str:
        """What known_hosts has to say about it."""
        return f"[127.0.0.1]:{self.port} {self.host_key_line}\n"

    @property
    def pid(self) -> int:
        """The listening server; each connection has processes of its own besides."""
        assert self._process is not None
        return self._process.pid

    def authorize(self, public_line: str, *, options: str = "") -> None:
        """Let one more key in, with the options of its line."""
        with (self.folder / "authorized_keys").open("a") as file:
            file.write(f"{options} {public_line}\n".lstrip())

    def forget_keys(self) -> None:
        """Let nobody in any more."""
        (self.folder / "authorized_keys").write_text("")

    def ssh_config(self, alias: str, *, more: str = "") -> str:
        """The lines of ~/.ssh/config that make it known under a name."""
        return (
            f"Host {alias}\n  HostName 127.0.0.1\n  Port {self.port}\n  User {self.user}\n"
            f"  IdentityFile {self.client_key}\n{more}"
        )

    def change_host_key(self) -> None:
        """Come back as another host at the same address."""
        self.kill()
        self.host_key_line = make_key(self.folder / "host_key")
        self.start()

    def start(self) -> None:
        """Start listening; what answers is the server itself."""
        text = _SETTINGS.format(port=self.port, folder=self.folder, more=self.settings)
        (self.folder / "sshd_config").write_text(text)
        env = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [str(_PROGRAM), "-D", "-e", "-f", str(self.folder / "sshd_config")],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        until_sync(self._answers, what=f"sshd on port {self.port} (see {self.log_path})")

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            pytest.fail(f"sshd ended: {self.log_path.read_text('utf-8', 'replace')}")
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1.0) as probe:
                return probe.recv(4) == b"SSH-"
        except OSError:
            return False

    def session_pids(self) -> list[int]:
        """The server's processes that serve connections now."""
        found: list[int] = []
        for line in subprocess.run(
            ["ps", "-eo", "pid=,ppid=,comm="], capture_output=True, text=True, check=True
        ).stdout.splitlines():
            pid, parent, name = line.split(None, 2)
            if name.startswith("sshd") and int(parent) in {self.pid, *found}:
                found.append(int(pid))
        return found

    def stop(self) -> None:
        """Stop it and all its sessions in their tracks: connections stay, nothing answers."""
        for pid in (*self.session_pids(), self.pid):
            os.kill(pid, signal.SIGSTOP)

    def pause(self, pid: int) -> None:
        """Stop one of its processes; `resume` lets it go on."""
        os.kill(pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let everything go on that was stopped."""
        for pid in (self.pid, *self.session_pids()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def cut(self) -> None:
        """End all sessions without a word; new ones are welcome."""
        for pid in self.session_pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def kill(self) -> None:
        """End it with all its sessions."""
        if self._process is None:
            return
        if self._process.poll() is None:
            sessions = self.session_pids()
            self._process.kill()
            for pid in sessions:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._process.wait()
        self._process = None


@contextlib.contextmanager
def running_sshd(
    folder: Path, *, user: str | None = None, home: Path | None = None, settings: str = ""
) -> Generator[Sshd]:
    """Run a server until the block ends; settings are more lines of its configuration.

    Sessions see the home that is named instead of the user's own, but begin in the latter.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        # The unprivileged half of a server that root starts locks itself into this folder.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    sshd = Sshd(
        folder=folder,
        port=_free_port(),
        user=user or pwd.getpwuid(os.geteuid()).pw_name,
        settings=f"{settings}\nSetEnv HOME={home}" if home else settings,
    )
    sshd.host_key_line = make_key(folder / "host_key")
    sshd.authorize(make_key(sshd.client_key))
    sshd.start()
    try:
        yield sshd
    finally:
        sshd.kill()
