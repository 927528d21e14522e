"""Finds the service manager of this host and the place of pool-managerd's service in it.

look() gathers facts, choose() decides by them; nothing here changes anything.
"""

import grp
import os
import pwd
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from orchestrator_core.daemon.units import LABEL, UNIT
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.platforms.logins import login_environment

__all__ = [
    "Account",
    "HostFacts",
    "Manager",
    "Ran",
    "Run",
    "Scope",
    "Service",
    "ask_command",
    "choose",
    "find_account",
    "host_is_stopping",
    "look",
    "run_command",
    "service_pid",
]

_ASK_TIMEOUT_S: Final = 5.0
# A start returns once the daemon is ready, for which a unit leaves it 60 s.
_RUN_TIMEOUT_S: Final = 120.0
_GROUPS: Final = ("video", "render")
_UP: Final = frozenset({"initializing", "starting", "running", "degraded", "maintenance"})
_NOT_FOUND: Final = 127
_TIMED_OUT: Final = 124


class Manager(StrEnum):
    """A program that starts others at boot or at login."""

    SYSTEMD = "systemd"
    LAUNCHD = "launchd"


class Scope(StrEnum):
    """Whose service it is: the host's, from boot on, or one user's."""

    SYSTEM = "system"
    USER = "user"


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended and what it said."""

    code: int
    output: str


Run = Callable[[Sequence[str]], Ran]


@dataclass(frozen=True, slots=True)
class Account:
    """A user of this host."""

    name: str
    uid: int
    gid: int
    home: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """What there is; owner is whom a system service is meant for when nobody says."""

    is_mac: bool
    me: Account
    owner: Account
    groups: tuple[str, ...] = ()
    systemd_runs: bool = False
    user_manager_runs: bool = False
    lingers: bool = False
    in_container: bool = False
    in_wsl: bool = False

    @property
    def is_root(self) -> bool:
        """Tell whether we may change the host's own services."""
        return self.me.uid == 0


@dataclass(frozen=True, slots=True)
class Service:
    """Where the service stands; the domain is launchd's word for whose it is."""

    manager: Manager
    scope: Scope
    path: Path
    domain: str = ""

    @property
    def name(self) -> str:
        """What the manager calls it."""
        return UNIT if self.manager is Manager.SYSTEMD else f"{self.domain}/{LABEL}"

    def control(self, *words: str) -> tuple[str, ...]:
        """A command line for the manager."""
        if self.manager is Manager.LAUNCHD:
            return ("launchctl", *words)
        return ("systemctl", *(["--user"] if self.scope is Scope.USER else []), *words)


def run_command(argv: Sequence[str], *, timeout_s: float = _RUN_TIMEOUT_S) -> Ran:
    """Run a command to its end, which is never longer than the timeout away."""
    try:
        done = subprocess.run(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
            check=False,
            env=login_environment(),
        )
    except subprocess.TimeoutExpired:
        return Ran(_TIMED_OUT, f"no answer within {timeout_s:g} s")
    except OSError as error:
        return Ran(_NOT_FOUND, error.strerror or str(error))
    return Ran(done.returncode, done.stdout.decode("utf-8", "replace"))


def ask_command(argv: Sequence[str]) -> Ran:
    """Run a command that only tells something, and therefore at once."""
    return run_command(argv, timeout_s=_ASK_TIMEOUT_S)


def look(env: Mapping[str, str], run: Run = ask_command, root: Path = Path("/")) -> HostFacts:
    """Gather the facts of this host."""
    record = pwd.getpwuid(os.geteuid())
    me = _account(record)
    # sudo names the person behind root; a service that needs no root shall not run as root.
    behind = find_account(env.get("SUDO_USER", "")) if me.uid == 0 else None
    owner = behind or me
    systemd_runs = (root / "run/systemd/system").is_dir()
    return HostFacts(
        is_mac=sys.platform == "darwin",
        me=me,
        owner=owner,
        groups=tuple(name for name in _GROUPS if _is_group(name)),
        systemd_runs=systemd_runs,
        user_manager_runs=systemd_runs and _state(run, "--user") in _UP,
        lingers=(root / "var/lib/systemd/linger" / me.name).exists(),
        in_container=any((root / it).exists() for it in (".dockerenv", "run/.containerenv")),
        in_wsl=bool(env.get("WSL_DISTRO_NAME")),
    )


def find_account(name: str) -> Account | None:
    """A user by name; None when the host has none of that name."""
    try:
        return _account(pwd.getpwnam(name)) if name else None
    except KeyError:
        return None


def choose(
    host: HostFacts, wanted: Scope | None, *, program: Path, only_text: bool = False
) -> Service | Refusal:
    """Decide which service is meant; a text alone needs no manager if a scope is given."""
    if host.is_mac:
        scope = wanted or (Scope.SYSTEM if host.is_root else Scope.USER)
        return _refuse_scope(host, scope, only_text=only_text) or _launchd(host, scope)
    if not host.systemd_runs and not (only_text and wanted):
        return Refusal(Code.CONFLICT, _advice(host, program))
    scope = wanted or (Scope.SYSTEM if host.is_root else Scope.USER)
    return _refuse_scope(host, scope, only_text=only_text) or _systemd(host, scope)


def service_pid(service: Service, run: Run = ask_command) -> int | None:
    """The process that the manager started for the service; None when it runs none."""
    if service.manager is Manager.SYSTEMD:
        ran = run(service.control("show", "--property=MainPID", "--value", service.name))
        text = ran.output.strip() if ran.code == 0 else ""
    else:
        ran = run(service.control("print", service.name))
        lines = (line.split() for line in ran.output.splitlines())
        text = next((words[2] for words in lines if words[:2] == ["pid", "="]), "")
    return int(text) or None if text.isascii() and text.isdecimal() else None


def host_is_stopping(env: Mapping[str, str], run: Run = ask_command) -> bool:
    """Tell whether a daemon is stopped because its host, or its user's manager, goes down.

    Workers survive a stop of the daemon, but not this one: whoever asks should stop them in order.
    The question blocks for some seconds at the worst; a host without systemd never says yes.
    """
    if _state(run) == "stopping":
        return True
    # Set for everything that a user's own manager has started, and ends with it.
    return bool(env.get("MANAGERPID")) and _state(run, "--user") == "stopping"


def _state(run: Run, *options: str) -> str:
    # systemctl ends with 1 in every state but one, so only the word counts.
    return run(("systemctl", *options, "is-system-running")).output.strip()


def _account(record: pwd.struct_passwd) -> Account:
    return Account(record.pw_name, record.pw_uid, record.pw_gid, Path(record.pw_dir))


def _is_group(name: str) -> bool:
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True


def _systemd(host: HostFacts, scope: Scope) -> Service:
    folder = Path("/etc") if scope is Scope.SYSTEM else host.me.home / ".config"
    return Service(Manager.SYSTEMD, scope, folder / "systemd" / scope.value / UNIT)


def _launchd(host: HostFacts, scope: Scope) -> Service:
    if scope is Scope.SYSTEM:
        path = Path("/Library/LaunchDaemons") / f"{LABEL}.plist"
        return Service(Manager.LAUNCHD, scope, path, "system")
    path = host.me.home / "Library/LaunchAgents" / f"{LABEL}.plist"
    return Service(Manager.LAUNCHD, scope, path, f"gui/{host.me.uid}")


def _refuse_scope(host: HostFacts, scope: Scope, *, only_text: bool) -> Refusal | None:
    if only_text:
        return None
    reason = None
    if scope is Scope.SYSTEM and not host.is_root:
        reason = "a system service needs root: run this with sudo, or take --user"
    elif scope is Scope.USER and host.is_mac and host.is_root:
        reason = "a user's service belongs to a user who logs in: run this without sudo"
    elif scope is Scope.USER and not host.is_mac and not host.user_manager_runs:
        reason = (
            f"systemd runs no services for {host.me.name} here: log in as that user "
            "without su or sudo, or install a system service with sudo and --system"
        )
    return Refusal(Code.INTERNAL, reason) if reason else None


def _advice(host: HostFacts, program: Path) -> str:
    if host.in_container:
        return (
            f"a container has no service system: make {program} its main program "
            "(the workers then end with the container)"
        )
    if host.in_wsl:
        return (
            "systemd is off in this WSL: put systemd=true under [boot] in /etc/wsl.conf and "
            f"restart WSL, or run {program} in the foreground"
        )
    return (
        f"no service system runs on this host: run {program} in the foreground, "
        "or llorch-pool daemon start in the background"
    )
