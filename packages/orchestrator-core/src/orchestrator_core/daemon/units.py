"""Writes what a service manager needs to run pool-managerd: systemd units and a launchd plist. Pure.

Every line serves one promise: workers outlive the daemon, whether it stops, crashes or restarts.
"""

import plistlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

from orchestrator_core.errors import Code, Refusal

__all__ = [
    "LABEL",
    "MARK",
    "UNIT",
    "ServiceSpec",
    "launchd_plist",
    "refuse_unprintable",
    "service_environment",
    "systemd_system_unit",
    "systemd_user_unit",
]

UNIT: Final = "pool-managerd.service"
LABEL: Final = "llama-orch.pool-managerd"
MARK: Final = "Made by llorch-pool daemon install-service, which replaces the whole file."

_HOME: Final = "LLORCH_HOME"
_PREFIX: Final = "LLORCH_POOL_"
_FOLDERS: Final = ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME")
# Where commands look for a daemon; to the daemon itself it means nothing.
_FOR_COMMANDS: Final = "LLORCH_POOL_URL"
_SECRET: Final = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL")

_PLAIN: Final = re.compile(r"[A-Za-z0-9_./:@+=,-]+")
_UNPRINTABLE: Final = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
_NO_PROGRAM: Final = re.compile(r"""["'\\]""")
# ProtectSystem=full makes these read-only.
_READ_ONLY: Final = ("/usr", "/boot", "/efi", "/etc")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSpec:
    """What differs from host to host; user and groups are those of a system service."""

    program: PurePath
    environment: Mapping[str, str]
    user: str | None = None
    groups: tuple[str, ...] = ()
    log_path: PurePath | None = None


def service_environment(env: Mapping[str, str], *, same_user: bool) -> dict[str, str]:
    """What a service needs of the caller's environment to find the same folders and settings.

    Secrets never pass: a unit can be read by everyone. Folders named by XDG variables belong to the
    caller, so a service of another user does not get them.
    """
    passed = {name: env[name] for name in sorted(env) if env[name] and _is_setting(name)}
    if env.get(_HOME):
        return {_HOME: env[_HOME], **passed}
    named = _FOLDERS if same_user else ()
    return {name: env[name] for name in named if env.get(name, "").startswith("/")} | passed


def refuse_unprintable(spec: ServiceSpec, *, systemd: bool) -> Refusal | None:
    """Refuse what the service file cannot spell, such as a line break in a path."""
    texts = {
        "the program's path": str(spec.program),
        "the log's path": str(spec.log_path or ""),
        **spec.environment,
    }
    for name, text in texts.items():
        if _UNPRINTABLE.search(text):
            reason = f"{name} holds a character that a service file cannot carry: {text!r}"
            return Refusal(Code.INVALID_REQUEST, reason)
    if systemd and _NO_PROGRAM.search(str(spec.program)):
        reason = f"systemd starts no program with quotes or backslashes in its path: {spec.program}"
        return Refusal(Code.INVALID_REQUEST, reason)
    return None


def systemd_system_unit(spec: ServiceSpec) -> str:
    """The unit for the host's own service manager."""
    # Sandboxing beyond ProtectSystem is left out on purpose: most of it forbids setuid programs,
    # of which the NVIDIA driver needs one to make its device files.
    home = PurePath(spec.environment.get(_HOME, "/"))
    protected = not any(home.is_relative_to(folder) for folder in _READ_ONLY)
    return _unit(
        unit=(
            "After=network-online.target nvidia-persistenced.service",
            "Wants=network-online.target",
        ),
        service=(
            *([f"User={_escaped(spec.user)}"] if spec.user else []),
            *([f"SupplementaryGroups={' '.join(spec.groups)}"] if spec.groups else []),
            "EnvironmentFile=-/etc/default/pool-managerd",
            *_command(spec),
            "OOMScoreAdjust=-200",
            "LimitMEMLOCK=infinity",
            *(["ProtectSystem=full"] if protected else []),
        ),
        wanted_by="multi-user.target",
    )


def systemd_user_unit(spec: ServiceSpec) -> str:
    """The unit for the service manager of one user, without what only root may ask for."""
    return _unit(unit=(), service=tuple(_command(spec)), wanted_by="default.target")


def launchd_plist(spec: ServiceSpec) -> str:
    """The property list for launchd, as an agent of a user or as a daemon of the host."""
    content: dict[str, object] = {
        "Label": LABEL,
        "ProgramArguments": [str(spec.program)],
        "EnvironmentVariables": dict(spec.environment),
        "RunAtLoad": True,
        # An end with code 0 was asked for; every other one is followed by a new start.
        "KeepAlive": {"SuccessfulExit": False},
        "ThrottleInterval": 10,
        "ExitTimeOut": 45,
        # Without this, launchd kills whatever the daemon has started when the daemon ends.
        "AbandonProcessGroup": True,
        "ProcessType": "Interactive",
        # More than this is refused on Macs with a small kern.maxfilesperproc.
        "SoftResourceLimits": {"NumberOfFiles": 10240},
        "Umask": 0o077,
    }
    if spec.user:
        content["UserName"] = spec.user
    if spec.log_path:
        content["StandardOutPath"] = content["StandardErrorPath"] = str(spec.log_path)
    text = plistlib.dumps(content, sort_keys=False).decode("utf-8")
    return text.replace("<plist ", f"<!-- {MARK} -->\n<plist ", 1)


def _is_setting(name: str) -> bool:
    if not name.startswith(_PREFIX) or name == _FOR_COMMANDS:
        return False
    return name.endswith("_FILE") or _SECRET.search(name) is None


def _unit(*, unit: tuple[str, ...], service: tuple[str, ...], wanted_by: str) -> str:
    lines = [
        f"# {MARK}",
        "# Settings belong into config/pool.toml; changes of the service into a drop-in, which",
        "# `systemctl edit` makes.",
        "[Unit]",
        "Description=pool-managerd, the devices and inference workers of this host",
        *unit,
        "StartLimitIntervalSec=300",
        "StartLimitBurst=10",
        "",
        "[Service]",
        "Type=notify",
        "NotifyAccess=main",
        *service,
        "UMask=0077",
        "# Workers outlive the daemon: only the daemon's own process is stopped, and a worker that",
        "# runs out of memory takes nobody along.",
        "KillMode=process",
        "Delegate=yes",
        "OOMPolicy=continue",
        "# Code 78 means that the configuration is wrong: starting again would not help.",
        "Restart=on-failure",
        "RestartSec=2",
        "RestartPreventExitStatus=78",
        "TimeoutStartSec=60",
        "TimeoutStopSec=45",
        "WatchdogSec=60",
        "LimitNOFILE=65536",
        "",
        "[Install]",
        f"WantedBy={wanted_by}",
    ]
    return "\n".join(lines) + "\n"


def _command(spec: ServiceSpec) -> Iterator[str]:
    for name, value in spec.environment.items():
        yield f"Environment={_word(f'{name}={value}')}"
    yield f"ExecStart={_word(str(spec.program))}"


def _word(text: str) -> str:
    """One word of a unit; in a program's path and in Environment= a dollar sign is only itself."""
    escaped = _escaped(text)
    if _PLAIN.fullmatch(text):
        return escaped
    inner = escaped.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{inner}"'


def _escaped(text: str) -> str:
    return text.replace("%", "%%")
