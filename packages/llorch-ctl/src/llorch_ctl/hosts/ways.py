"""Opens the SSH connection of a host: the user's keys, agent and config, strict host keys."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from llorch_ctl.hosts.book import HostBook
from llorch_ctl.hosts.entries import HostEntry
from llorch_ctl.settings import CliSettings
from orchestrator_core.errors import Code, Refusal

if TYPE_CHECKING:
    from orchestrator_core.clients.ssh.connection import Login, SshConnection

__all__ = ["config_files", "known_hosts_files", "login", "name_shown", "open_ssh"]

_SYSTEM: Final = Path("/etc/ssh/ssh_known_hosts")
_SIZE_MAX_BYTES: Final = 4 << 20


def config_files(settings: CliSettings) -> tuple[Path, ...]:
    """The user's own ssh configuration, if there is one."""
    file = _ssh_folder(settings) / "config"
    return (file,) if file.is_file() else ()


def known_hosts_files(settings: CliSettings) -> tuple[Path, ...]:
    """Where host keys that count may stand; `llorch host trust` writes the last one only."""
    own = _ssh_folder(settings)
    return own / "known_hosts", own / "known_hosts2", _SYSTEM, settings.layout.known_hosts


def login(settings: CliSettings) -> "Login":
    """How this user logs in anywhere: with keys and agent, and only at hosts whose key is known."""
    from orchestrator_core.clients.ssh.connection import Login
    from orchestrator_core.clients.ssh.host_keys import KnownHosts

    texts = (_read(file) for file in known_hosts_files(settings))
    known = KnownHosts(tuple(text for text in texts if text))
    return Login(known_hosts=known, config_files=config_files(settings))


async def open_ssh(settings: CliSettings, entry: HostEntry) -> "SshConnection | Refusal":
    """Log in to a host."""
    if entry.ssh is None:
        line = f"{entry.name} has no ssh in llorch.toml: add it, or take --via http"
        return Refusal(Code.INVALID_REQUEST, line)
    from orchestrator_core.clients.ssh.connection import connect

    return await connect(entry.ssh, login(settings), name=name_shown(settings, entry))


def name_shown(settings: CliSettings, entry: HostEntry) -> str:
    """What messages call a host: the name that our other commands know it by, else its place."""
    if entry.ssh is None:
        return entry.name
    known = HostBook.of(settings).find(entry.name)
    is_known = isinstance(known, HostEntry) and known.ssh == entry.ssh
    return entry.name if is_known and entry.name != str(entry.ssh) else entry.ssh.place


def _ssh_folder(settings: CliSettings) -> Path:
    home = settings.env.get("HOME")
    return (Path(home) if home else Path.home()) / ".ssh"


def _read(file: Path) -> str:
    # Who cannot be read vouches for nobody: the host is then unknown, and that is said.
    try:
        with file.open("rb") as stream:
            return stream.read(_SIZE_MAX_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
