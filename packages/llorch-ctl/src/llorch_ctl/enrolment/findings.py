"""Judges an enrolled host by what was found out about it: each finding with a fix. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from llorch_ctl.enrolment.probe import Probe
from orchestrator_core.contracts.versions import skew_refusal
from orchestrator_core.units import GIB, format_bytes

__all__ = ["Finding", "Grade", "Look", "PoolWord", "judge", "unreachable"]

_CLOCK_WARN_S: Final = 5
_CLOCK_BAD_S: Final = 300
_DISK_BAD_BYTES: Final = GIB
_DISK_WARN_BYTES: Final = 5 * GIB
_ENABLED: Final = ("enabled", "enabled-runtime", "static")


class Grade(StrEnum):
    """How bad it is; only problems make the command fail."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at, and what to do about it."""

    host: str
    what: str
    grade: Grade
    text: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class PoolWord:
    """What the orchestrator says of the pool; None in place of it: it could not be asked."""

    status: str | None
    link: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """Everything that was found out; None is what could not be asked.

    version is that of the llorch-pool there, or None where there is none; units are what the
    service manager says per scope; devices are their names.
    """

    host: str
    ours: str
    probe: Probe
    now_s: float
    version: str | None
    daemon_url: str | None
    units: Mapping[str, str]
    devices: Sequence[str] | None
    pool: PoolWord | None


def unreachable(host: str, reason: str) -> list[Finding]:
    """A host that could not be entered; the reason says what to do."""
    return [Finding(host, "ssh", Grade.PROBLEM, reason)]


def judge(look: Look) -> list[Finding]:
    """Look at everything, the ways to the host first."""
    return [
        Finding(look.host, "ssh", Grade.OK, f"logged in as {look.probe.user}"),
        _version(look),
        _daemon(look),
        *_service(look),
        _joined(look),
        *_devices(look),
        _clock(look),
        _disk(look),
        *_engine(look),
    ]


def _version(look: Look) -> Finding:
    host = look.host
    if look.version is None:
        fix = f"llorch host add {host}"
        return Finding(host, "version", Grade.PROBLEM, "no llorch-pool is installed", fix)
    refusal = skew_refusal(look.ours, look.version, f"llorch-pool on {host}", "this llorch")
    if refusal is not None:
        fix = f"llorch host upgrade {host}"
        return Finding(host, "version", Grade.PROBLEM, refusal.message, fix)
    if look.version != look.ours:
        text = f"llorch-pool {look.version}, this is {look.ours}"
        return Finding(host, "version", Grade.WARNING, text, f"llorch host upgrade {host}")
    return Finding(host, "version", Grade.OK, f"llorch-pool {look.version}")


def _daemon(look: Look) -> Finding:
    if look.daemon_url is not None:
        return Finding(look.host, "daemon", Grade.OK, f"pool-managerd answers at {look.daemon_url}")
    fix = f"llorch pool daemon start --host {look.host}"
    return Finding(look.host, "daemon", Grade.PROBLEM, "pool-managerd does not run", fix)


def _service(look: Look) -> list[Finding]:
    host, probe = look.host, look.probe
    if not probe.systemd:
        if probe.launchd:
            return []
        text = "no service manager: pool-managerd does not start at boot"
        fix = f"at boot: llorch-pool daemon start; now: llorch pool daemon start --host {host}"
        return [Finding(host, "service", Grade.WARNING, text, fix)]
    scope = next((name for name, state in look.units.items() if state in _ENABLED), None)
    if scope is None:
        text = "pool-managerd is no enabled service: it does not start at boot"
        fix = f"llorch pool daemon install-service --host {host}"
        return [Finding(host, "service", Grade.WARNING, text, fix)]
    rows = [Finding(host, "service", Grade.OK, f"enabled ({scope})")]
    if scope == "user" and probe.lingers is not True:
        text = f"it ends when {probe.user} logs out"
        fix = f"on {host}: sudo loginctl enable-linger {probe.user}"
        rows.append(Finding(host, "linger", Grade.WARNING, text, fix))
    return rows


def _joined(look: Look) -> Finding:
    host, pool = look.host, look.pool
    if pool is None:
        text = "the orchestrator could not be asked"
        return Finding(host, "pool", Grade.WARNING, text, "llorch orchestrator status")
    if pool.status is None:
        text = "it is no pool of the orchestrator"
        return Finding(host, "pool", Grade.PROBLEM, text, f"llorch host add {host}")
    link = f", link {pool.link}" if pool.link else ""
    if pool.status in ("online", "draining"):
        return Finding(host, "pool", Grade.OK, f"{pool.status}{link}")
    text = f"{pool.status}{link}" + (f": {pool.reason}" if pool.reason else "")
    return Finding(host, "pool", Grade.PROBLEM, text, f"llorch host add {host}")


def _devices(look: Look) -> list[Finding]:
    if look.devices is None:
        return []
    if not look.devices:
        fix = f"llorch pool dev doctor --host {look.host}"
        return [Finding(look.host, "devices", Grade.WARNING, "no device was found", fix)]
    return [Finding(look.host, "devices", Grade.OK, ", ".join(look.devices))]


def _clock(look: Look) -> Finding:
    if look.probe.time_s is None:
        return Finding(look.host, "clock", Grade.WARNING, "the host did not tell its time")
    skew_s = abs(look.probe.time_s - look.now_s)
    if skew_s <= _CLOCK_WARN_S:
        return Finding(look.host, "clock", Grade.OK, "it agrees with this machine's")
    grade = Grade.PROBLEM if skew_s > _CLOCK_BAD_S else Grade.WARNING
    fix = f"on {look.host}: sudo timedatectl set-ntp true"
    return Finding(look.host, "clock", grade, f"it is {skew_s:.0f} s off", fix)


def _disk(look: Look) -> Finding:
    free = look.probe.disk_free_bytes
    if free is None:
        return Finding(look.host, "disk", Grade.WARNING, "the host did not tell what is free")
    text = f"{format_bytes(free)} free in {look.probe.home}"
    fix = f"llorch pool models list --host {look.host}, and delete what is not needed"
    if free < _DISK_BAD_BYTES:
        return Finding(look.host, "disk", Grade.PROBLEM, text, fix)
    if free < _DISK_WARN_BYTES:
        return Finding(look.host, "disk", Grade.WARNING, text, fix)
    return Finding(look.host, "disk", Grade.OK, text)


def _engine(look: Look) -> list[Finding]:
    rows: list[Finding] = []
    if look.probe.avx2 is False:
        text = "the processor has no AVX2: workers on it cannot run"
        rows.append(Finding(look.host, "engine", Grade.WARNING, text))
    pythons = look.probe.pythons
    if look.probe.os == "Linux" and pythons and not any(python.has_gomp for python in pythons):
        text = "libgomp.so.1 is missing, which workers need"
        fix = f"on {look.host}: sudo apt install libgomp1"
        rows.append(Finding(look.host, "engine", Grade.PROBLEM, text, fix))
    return rows
