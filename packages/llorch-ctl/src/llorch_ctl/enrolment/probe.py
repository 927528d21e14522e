"""Reads what a host says of itself: one POSIX script there, key=value lines back, all untrusted.

The script changes nothing. What it says is cut, cleaned of control characters and checked here.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from orchestrator_core.errors import Code, Refusal

__all__ = ["Probe", "PythonFound", "probe_script", "read_probe"]

_TEXT_MAX: Final = 65_536
_VALUE_MAX: Final = 400
_LINES_MAX: Final = 200
_PYTHONS_MAX: Final = 16

_VERSION: Final = re.compile(r"(\d{1,3})\.(\d{1,3})", re.ASCII)
_ABSOLUTE: Final = re.compile(r"/[^\x00-\x1f\x7f]*")

# Everything ends in an answer: a program that hangs costs its timeout, not the enrolment.
_SCRIPT: Final = r"""
LC_ALL=C; export LC_ALL
say() { printf '%s=%s\n' "$1" "$(printf '%s' "$2" | tr '\n\r' '  ' | cut -c 1-400)"; }
first() { "$@" 2>/dev/null | head -n 1; }
has() { command -v "$1" >/dev/null 2>&1; }
limited() { if has timeout; then timeout 10 "$@"; else "$@"; fi; }
say os "$(uname -s)"
say arch "$(uname -m)"
say kernel "$(uname -r)"
say hostname "$(uname -n)"
say user "$(id -un)"
say uid "$(id -u)"
say home "$HOME"
say shell "${SHELL:-}"
say config_home "${XDG_CONFIG_HOME:-$HOME/.config}"
say data_home "${XDG_DATA_HOME:-$HOME/.local/share}"
say state_home "${XDG_STATE_HOME:-$HOME/.local/state}"
[ -r /etc/os-release ] && say distribution "$(. /etc/os-release; printf '%s %s' "${ID:-}" "${VERSION_ID:-}")"
glibc=$(getconf GNU_LIBC_VERSION 2>/dev/null)
if [ -n "$glibc" ]; then say libc "$glibc"
elif ldd --version 2>&1 | grep -qi musl; then say libc musl
fi
if [ -r /proc/meminfo ]; then say memory_kib "$(sed -n 's/^MemTotal: *\([0-9]*\).*/\1/p' /proc/meminfo)"
else memory=$(sysctl -n hw.memsize 2>/dev/null) && say memory_kib "$((memory / 1024))"
fi
say disk_kib "$(df -Pk "$HOME" 2>/dev/null | awk 'NR == 2 {print $4}')"
[ -r /proc/cpuinfo ] && if grep -qw avx2 /proc/cpuinfo; then say avx2 yes; else say avx2 no; fi
judge='import sys
from importlib.util import find_spec as f
v = "%d.%d.%d" % sys.version_info[:3]
made = all(f(n) for n in ("venv", "ensurepip"))
gomp = True
if sys.platform == "linux":
    import ctypes
    try:
        ctypes.CDLL("libgomp.so.1")
    except OSError:
        gomp = False
print(v, "venv" if made else "bare", "gomp" if gomp else "no-gomp", sys.executable)'
for name in $LLORCH_PYTHON python3 python3.14 python3.13 python3.12 python3.11 /opt/homebrew/bin/python3 /usr/local/bin/python3; do
    path=$(command -v "$name" 2>/dev/null) || continue
    found=$(limited "$path" -I -c "$judge" 2>/dev/null </dev/null) && say python "$found"
done
for path in "$(command -v uv 2>/dev/null)" "$HOME/.local/bin/uv" "$HOME/.cargo/bin/uv"; do
    [ -n "$path" ] && [ -x "$path" ] && { say uv "$(first "$path" --version | cut -d ' ' -f 2) $path"; break; }
done
has nvidia-smi && limited nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader 2>/dev/null </dev/null | head -n 16 |
    while read -r line; do say gpu "$line"; done
[ -e /dev/kfd ] && say gpu "AMD (/dev/kfd)"
if [ -d /run/systemd/system ]; then
    say systemd yes
    XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-/run/user/$(id -u)}"; export XDG_RUNTIME_DIR
    if limited systemctl --user show-environment >/dev/null 2>&1; then say user_manager yes; else say user_manager no; fi
    say linger "$(limited loginctl show-user "$(id -un)" --property=Linger --value 2>/dev/null)"
fi
[ "$(uname -s)" = Darwin ] && say launchd yes
if has ss; then listeners=$(ss -Hltn 2>/dev/null | awk '{print $4}')
elif has netstat; then listeners=$(netstat -an 2>/dev/null | awk '/LISTEN/ {print $4}' | sed 's/\.\([0-9]*\)$/:\1/')
fi
port=$LLORCH_PORT
if [ -n "${listeners:-}" ]; then
    if printf '%s\n' "$listeners" | grep -q ":$port\$"; then say port taken; else say port free; fi
elif [ -r /proc/net/tcp ]; then
    if grep -qi ":$(printf '%04x' "$port") [0-9A-F:]* 0A" /proc/net/tcp /proc/net/tcp6 2>/dev/null; then say port taken; else say port free; fi
fi
root=$HOME/.local/share/llorch
[ -L "$root/current" ] && say current "$(readlink "$root/current")"
[ -x "$root/current/bin/llorch-pool" ] &&
    say version "$(limited "$root/current/bin/llorch-pool" --version 2>/dev/null </dev/null | awk '{print $NF}')"
state=${LLORCH_HOME:+$LLORCH_HOME/state}
state=${state:-${XDG_STATE_HOME:-$HOME/.local/state}/llorch}
[ -f "$state/pool/orchestrator.cred" ] && say joined yes
say time_s "$(date +%s)"
echo end=1
"""


@dataclass(frozen=True, slots=True)
class PythonFound:
    """One interpreter of the host; makes_venv says that it can make a virtual environment."""

    path: str
    version: tuple[int, int, int]
    makes_venv: bool
    has_gomp: bool

    @property
    def minor(self) -> str:
        """As `3.11`."""
        return f"{self.version[0]}.{self.version[1]}"


@dataclass(frozen=True, slots=True)
class Probe:
    """What one host is like; None is what it could not tell."""

    os: str
    arch: str
    user: str
    uid: int
    home: str
    config_home: str
    data_home: str
    state_home: str
    kernel: str | None = None
    hostname: str | None = None
    shell: str | None = None
    distribution: str | None = None
    libc: str | None = None
    memory_bytes: int | None = None
    disk_free_bytes: int | None = None
    avx2: bool | None = None
    pythons: tuple[PythonFound, ...] = ()
    uv: str | None = None
    uv_version: tuple[int, int] | None = None
    gpus: tuple[str, ...] = ()
    systemd: bool = False
    user_manager: bool = False
    lingers: bool | None = None
    launchd: bool = False
    port_taken: bool | None = None
    current: str | None = None
    version: str | None = None
    joined: bool = False
    time_s: int | None = None

    @property
    def root(self) -> str:
        """Where the suite lies on this host."""
        return f"{self.home}/.local/share/llorch"

    @property
    def platform(self) -> str | None:
        """The name of its wheels, as `./dev wheels --third-party` spells it."""
        if self.os == "Darwin":
            return "macos-arm64" if self.arch == "arm64" else None
        machine = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}
        found = machine.get(self.arch)
        return f"linux-{found}" if self.os == "Linux" and found else None


def probe_script(*, port: int, python: str | None = None, home: str | None = None) -> str:
    """The script for a host, with what a person chose for it."""
    from llorch_ctl.enrolment.shell_text import quoted

    chosen = [f"LLORCH_PYTHON={quoted(python or '')}", f"LLORCH_PORT={port:d}"]
    chosen.append(f"LLORCH_HOME={quoted(home or '')}")
    return "\n".join(chosen) + "\n" + _SCRIPT


def read_probe(text: str) -> Probe | Refusal:
    """Read what the script printed, or say what is missing."""
    values = _values(text[:_TEXT_MAX])
    if values.get("end") != ["1"]:
        line = "the host did not answer the probe to its end: is its sh a POSIX shell?"
        return Refusal(Code.UNREACHABLE, line)
    missing = [key for key in ("os", "arch", "user", "uid", "home") if not _one(values, key)]
    if missing:
        line = f"the host did not say its {', '.join(missing)}: it cannot be enrolled over SSH"
        return Refusal(Code.INVALID_REQUEST, line)
    home = _one(values, "home") or ""
    if not _ABSOLUTE.fullmatch(home) or any(mark in home for mark in "'\\!\""):
        line = f"the home folder of the host is {home!r}: a path without quotes is needed"
        return Refusal(Code.INVALID_REQUEST, line)
    return _probe(values, home)


def _probe(values: Mapping[str, Sequence[str]], home: str) -> Probe:
    uv_version, uv = _uv(_one(values, "uv"))
    memory, disk = _number(_one(values, "memory_kib")), _number(_one(values, "disk_kib"))
    return Probe(
        os=_one(values, "os") or "",
        arch=_one(values, "arch") or "",
        user=_one(values, "user") or "",
        uid=_number(_one(values, "uid")) or 0,
        home=home,
        config_home=_path(_one(values, "config_home")) or f"{home}/.config",
        data_home=_path(_one(values, "data_home")) or f"{home}/.local/share",
        state_home=_path(_one(values, "state_home")) or f"{home}/.local/state",
        kernel=_one(values, "kernel"),
        hostname=_one(values, "hostname"),
        shell=_one(values, "shell"),
        distribution=_one(values, "distribution"),
        libc=_one(values, "libc"),
        memory_bytes=None if memory is None else memory * 1024,
        disk_free_bytes=None if disk is None else disk * 1024,
        avx2=_yes(_one(values, "avx2")),
        pythons=_pythons(values.get("python", [])),
        uv=uv,
        uv_version=uv_version,
        gpus=tuple(values.get("gpu", [])[:16]),
        systemd=_one(values, "systemd") == "yes",
        user_manager=_one(values, "user_manager") == "yes",
        lingers=_yes(_one(values, "linger")),
        launchd=_one(values, "launchd") == "yes",
        port_taken={"taken": True, "free": False}.get(_one(values, "port") or ""),
        current=_one(values, "current"),
        version=_one(values, "version"),
        joined=_one(values, "joined") == "yes",
        time_s=_number(_one(values, "time_s")),
    )


def _values(text: str) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    for line in text.splitlines()[-_LINES_MAX:]:
        key, equals, value = line.partition("=")
        if not equals or not key.isidentifier():
            # What a start file of the shell prints is not part of the answer.
            continue
        clean = "".join(char if char.isprintable() else " " for char in value).strip()
        values.setdefault(key, []).append(clean[:_VALUE_MAX])
    return values


def _pythons(lines: Sequence[str]) -> tuple[PythonFound, ...]:
    found: dict[str, PythonFound] = {}
    for line in lines[:_PYTHONS_MAX]:
        words = line.split(" ", 3)
        version = re.fullmatch(r"(\d{1,2})\.(\d{1,3})\.(\d{1,3})", words[0], re.ASCII)
        path = _path(words[3]) if len(words) == 4 else None
        if version is None or path is None:
            continue
        major, minor, patch = (int(part) for part in version.groups())
        python = PythonFound(path, (major, minor, patch), words[1] == "venv", words[2] == "gomp")
        found.setdefault(path, python)
    return tuple(found.values())


def _uv(line: str | None) -> tuple[tuple[int, int] | None, str | None]:
    version, _, path = (line or "").partition(" ")
    numbers = _VERSION.match(version)
    if numbers is None or _path(path) is None:
        return None, None
    return (int(numbers[1]), int(numbers[2])), path


def _one(values: Mapping[str, Sequence[str]], key: str) -> str | None:
    found = values.get(key)
    return found[0] if found and found[0] else None


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) < 19 else None


def _yes(text: str | None) -> bool | None:
    return {"yes": True, "no": False}.get(text or "")


def _path(text: str | None) -> str | None:
    return text if text and _ABSOLUTE.fullmatch(text) else None
