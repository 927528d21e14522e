"""Decides how a host becomes a pool: which Python, which installer, which steps, or why not. Pure.

In: what the probe found, what was wanted, which wheels there are. Out: steps in order, each with
what it does and why, and warnings that do not stop it.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

from llorch_ctl.enrolment.probe import Probe, PythonFound
from llorch_ctl.enrolment.wheelhouse import Suite, ThirdParty, Wheel
from orchestrator_core.contracts.versions import skew_refusal
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.units import GIB, format_bytes

__all__ = [
    "Installer",
    "Plan",
    "Road",
    "Step",
    "StepKind",
    "Wanted",
    "make_plan",
    "wants_third_party",
]

_DISK_LEAST_BYTES: Final = GIB
_PYTHON_OLDEST: Final = (3, 11)
_PYTHON_FETCHED: Final = "3.12"
_UV_OLDEST: Final = (0, 4)
_GLIBC_OLDEST: Final = (2, 28)
_CLOCK_WARN_S: Final = 5
_CLOCK_BAD_S: Final = 300

Road = Literal["ssh", "push", "none"]


class Installer(StrEnum):
    """What makes the virtual environment."""

    HOST_UV = "the host's uv"
    VENV = "the host's python3 with venv and pip"
    PUSHED_UV = "a uv that is sent along"


class StepKind(StrEnum):
    """Every step that an enrolment can have, in the order in which they come."""

    FOLDERS = "folders"
    BOOK = "hosts file"
    UPLOAD = "upload"
    INSTALL = "install"
    TEST = "self-test"
    SWITCH = "switch"
    SETTINGS = "settings"
    AUTHORIZE = "authorize"
    TOKEN = "token"  # noqa: S105 - the name of a step.
    SERVICE = "service"
    START = "start"
    ENROL = "enrol"
    JOIN = "join"
    HEARTBEAT = "heartbeat"
    KEY = "key"


@dataclass(frozen=True, slots=True)
class Step:
    """One step: what it does, and why so."""

    kind: StepKind
    text: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person asked for.

    bind is where the pool's daemon listens on the host; python limits the choice to one path.
    """

    name: str
    road: Road = "ssh"
    bind: str = "127.0.0.1:9200"
    offline: bool = False
    service: bool = True
    python: str | None = None
    now_s: float | None = None

    @property
    def port(self) -> int:
        """The port of bind."""
        return int(self.bind.rpartition(":")[2])


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be done; python is a path, or a version for uv to fetch."""

    release: str
    steps: tuple[Step, ...]
    warnings: tuple[str, ...]
    installer: Installer
    python: str
    uploads: tuple[Wheel, ...]
    uv: Wheel | None = None
    from_index: bool = True


@dataclass(frozen=True, slots=True)
class _Tools:
    installer: Installer
    python: str
    why: str
    found: PythonFound | None


def wants_third_party(probe: Probe, wanted: Wanted) -> bool:
    """Whether the folder of third-party wheels decides: nothing else may be asked for them."""
    able = any(python.makes_venv for python in _fit(probe, wanted, None))
    return wanted.offline or (not _has_uv(probe) and not able)


def make_plan(
    probe: Probe, wanted: Wanted, suite: Suite, third_party: ThirdParty | None
) -> Plan | Refusal:
    """Make the whole plan before anything is touched."""
    refusal = _unfit(probe, wanted, suite)
    if refusal is not None:
        return refusal
    if wanted.offline and third_party is None:
        line = (
            f"--offline needs the wheels for {probe.platform}: "
            f"./dev wheels --third-party {probe.platform}"
        )
        return Refusal(Code.NOT_FOUND, line)
    tools = _tools(probe, wanted, third_party)
    if isinstance(tools, Refusal):
        return tools
    bundled = third_party.wheels if wanted.offline and third_party else ()
    uploads = (*suite.wheels, *bundled)
    uv = third_party.uv if third_party and tools.installer is Installer.PUSHED_UV else None
    return Plan(
        release=suite.release,
        steps=_steps(probe, wanted, suite, tools, (*uploads, *((uv,) if uv else ()))),
        warnings=_warnings(probe, wanted, tools),
        installer=tools.installer,
        python=tools.python,
        uploads=uploads,
        uv=uv,
        from_index=not wanted.offline,
    )


def _unfit(probe: Probe, wanted: Wanted, suite: Suite) -> Refusal | None:
    where = f"{probe.os} on {probe.arch}"
    if probe.platform is None:
        line = (
            f"{wanted.name} is {where}: "
            f"there are wheels for Linux (x86_64, aarch64) and macOS (arm64)"
        )
        return Refusal(Code.INVALID_REQUEST, line)
    refusal = _unfit_libc(probe, wanted)
    if refusal is not None:
        return refusal
    free = probe.disk_free_bytes
    is_there = probe.current is not None and probe.current.endswith(f"/{suite.release}")
    if free is not None and free < _DISK_LEAST_BYTES and not is_there:
        line = (
            f"{wanted.name} has {format_bytes(free)} free in {probe.home}: "
            f"make room for 1 GiB there first"
        )
        return Refusal(Code.DISK_LOW, line)
    if probe.port_taken and probe.version is None:
        line = (
            f"port {wanted.port} of {wanted.name} is taken by another program: stop it if it is a "
            "pool-managerd that was installed by hand, or choose another with --daemon-port"
        )
        return Refusal(Code.PORT_IN_USE, line)
    return _unfit_version(probe, wanted, suite)


def _unfit_libc(probe: Probe, wanted: Wanted) -> Refusal | None:
    if probe.os != "Linux":
        return None
    if probe.libc == "musl":
        line = (
            f"{wanted.name} uses musl: "
            f"the engine has no wheels for it; take a distribution with glibc"
        )
        return Refusal(Code.INVALID_REQUEST, line)
    digits = (probe.libc or "").removeprefix("glibc ").split(".")
    if len(digits) >= 2 and all(part.isdecimal() for part in digits[:2]):
        found = (int(digits[0]), int(digits[1]))
        if found < _GLIBC_OLDEST:
            line = f"{wanted.name} has {probe.libc}: the wheels need glibc 2.28 or newer"
            return Refusal(Code.INVALID_REQUEST, line)
    return None


def _unfit_version(probe: Probe, wanted: Wanted, suite: Suite) -> Refusal | None:
    """A host that is ahead is never taken back, unless one minor lies between at most."""
    if probe.version is None or probe.version == suite.version:
        return None
    return skew_refusal(suite.version, probe.version, wanted.name, "this llorch")


def _tools(probe: Probe, wanted: Wanted, third_party: ThirdParty | None) -> _Tools | Refusal:
    minor = third_party.python if wanted.offline and third_party else None
    fit = _fit(probe, wanted, minor)
    python = fit[0] if fit else None
    if _has_uv(probe):
        if python is not None:
            why = f"it has one: {probe.uv}"
            return _Tools(Installer.HOST_UV, python.path, why, python)
        if not wanted.offline and wanted.python is None:
            why = f"it has no Python 3.11 or newer, its uv fetches {_PYTHON_FETCHED}"
            return _Tools(Installer.HOST_UV, _PYTHON_FETCHED, why, None)
    if python is None:
        return _no_python(probe, wanted, minor)
    able = next((one for one in fit if one.makes_venv), None)
    pushed = third_party is not None and third_party.uv is not None
    # Where all is sent anyway, a uv more costs less than pip's time.
    if able is not None and not (wanted.offline and pushed):
        return _Tools(Installer.VENV, able.path, f"it has no uv, and {able.path} can do it", able)
    if pushed:
        why = "it has none of its own"
        return _Tools(Installer.PUSHED_UV, python.path, why, python)
    line = (
        f"{wanted.name} has neither uv nor a python3 that makes virtual environments: "
        "install python3-venv there, or give the wheels of uv with --third-party"
    )
    return Refusal(Code.INVALID_REQUEST, line)


def _fit(probe: Probe, wanted: Wanted, minor: str | None) -> list[PythonFound]:
    return [
        python
        for python in probe.pythons
        if python.version >= _PYTHON_OLDEST
        and (minor is None or python.minor == minor)
        and (wanted.python is None or wanted.python == python.path)
    ]


def _no_python(probe: Probe, wanted: Wanted, minor: str | None) -> Refusal:
    have = ", ".join(sorted({python.minor for python in probe.pythons})) or "none"
    if wanted.python is not None:
        need = f"{wanted.python} of {wanted.name} is no Python that fits (found: {have})"
        return Refusal(Code.INVALID_REQUEST, f"{need}: name one of 3.11 or newer with --python")
    if minor is not None and have != "none":
        line = (
            f"the wheels are for Python {minor}, {wanted.name} has {have}: make others with "
            f"./dev wheels --third-party {probe.platform} --python VERSION"
        )
        return Refusal(Code.INVALID_REQUEST, line)
    line = (
        f"{wanted.name} has no Python 3.11 or newer (found: "
        f"{have}) and no uv: install one of both there"
    )
    return Refusal(Code.INVALID_REQUEST, line)


def _has_uv(probe: Probe) -> bool:
    return probe.uv_version is not None and probe.uv_version >= _UV_OLDEST


def _steps(
    probe: Probe, wanted: Wanted, suite: Suite, tools: _Tools, uploads: tuple[Wheel, ...]
) -> tuple[Step, ...]:
    kind = StepKind
    size = format_bytes(sum(wheel.size_bytes for wheel in uploads))
    release = f"{probe.root}/releases/{suite.release}"
    source = "offline" if wanted.offline else "the other packages come from the host's own index"
    steps = [
        Step(kind.FOLDERS, f"make {probe.root}"),
        Step(kind.BOOK, f"write [hosts.{wanted.name}] to llorch.toml of this machine"),
        Step(kind.UPLOAD, f"send {len(uploads)} wheels, {size} at most", "what is there stays"),
        Step(
            kind.INSTALL, f"install into {release} by {tools.installer}", f"{tools.why}; {source}"
        ),
        Step(kind.TEST, "start the new llorch-pool once, and import all that it needs"),
        Step(kind.SWITCH, f"let {probe.root}/current be this release", "the one before is kept"),
        Step(
            kind.SETTINGS,
            f'write pool_id = "{wanted.name}" and bind = "{wanted.bind}" to pool.toml',
        ),
    ]
    if wanted.road == "ssh":
        steps += [
            Step(kind.AUTHORIZE, "let the orchestrator's key in, for tunnels and llorch-pool only"),
            Step(kind.TOKEN, "lay the one-time token down", "the orchestrator shows it there"),
        ]
    steps.append(_daemon_step(probe, wanted))
    if wanted.road == "ssh":
        steps.append(Step(kind.ENROL, f"tell the orchestrator about {wanted.name}"))
    if wanted.road == "push":
        steps.append(Step(kind.JOIN, "let the host join with a one-time token"))
    if wanted.road != "none":
        steps.append(Step(kind.HEARTBEAT, "wait for the first heartbeat and show the devices"))
    # Only a daemon that reports has surely made its key.
    steps.append(Step(kind.KEY, "keep the pool's own key on this machine", "for --via http"))
    return tuple(steps)


def _daemon_step(probe: Probe, wanted: Wanted) -> Step:
    if wanted.service:
        if probe.launchd:
            return Step(StepKind.SERVICE, "install pool-managerd as a service of launchd")
        if probe.systemd and probe.uid == 0:
            return Step(StepKind.SERVICE, "install pool-managerd as a service of systemd")
        if probe.systemd and probe.user_manager:
            lingers = "" if probe.lingers else ", and let it run without a login (linger)"
            return Step(
                StepKind.SERVICE, f"install pool-managerd as a service of the user{lingers}"
            )
    why = "--no-service" if not wanted.service else "the host has no service manager we can use"
    return Step(StepKind.START, "start pool-managerd in the background", why)


def _warnings(probe: Probe, wanted: Wanted, tools: _Tools) -> tuple[str, ...]:
    found: list[str] = []
    if probe.time_s is not None and wanted.now_s is not None:
        skew_s = abs(probe.time_s - wanted.now_s)
        if skew_s > _CLOCK_WARN_S:
            grave = "certificates and tokens may be refused; " if skew_s > _CLOCK_BAD_S else ""
            found.append(
                f"the clock of {wanted.name} is {skew_s:.0f} s off: {grave}"
                "turn on time synchronisation there (timedatectl set-ntp true)"
            )
    if probe.avx2 is False:
        found.append(f"{wanted.name} has no AVX2: workers on its processor cannot run")
    if tools.found is not None and not tools.found.has_gomp:
        found.append(
            f"{wanted.name} lacks libgomp.so.1, which workers need: apt install libgomp1 there"
        )
    if _daemon_step(probe, wanted).kind is StepKind.START:
        found.append(
            f"pool-managerd of {wanted.name} does not start by itself after a reboot: "
            f"llorch pool daemon start --host {wanted.name} starts it then"
        )
    return tuple(found)
