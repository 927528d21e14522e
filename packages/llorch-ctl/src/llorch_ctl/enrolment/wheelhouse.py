"""Reads the folders that `./dev wheels` fills: our own wheels, and those of others per platform.

Nothing is believed by its name: each file is hashed and compared with the folder's own list, so
what is sent to a host is what was built.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from orchestrator_core.errors import Code, Refusal

__all__ = ["HOST_SIDE", "Suite", "ThirdParty", "Wheel", "read_suite", "read_third_party"]

HOST_SIDE: Final = (
    "llorch_orchestrator_core",
    "llorch_pool_core",
    "llorch_pool_managerd",
    "llorch_worker",
    "llorch_pool_ctl",
)
"""What runs on a host; the control plane stays where it is."""

_FILE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{1,200}\.whl", re.ASCII)
_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_VERSION: Final = re.compile(r"[0-9][0-9A-Za-z.+!-]{0,40}", re.ASCII)
_LIST_MAX_BYTES: Final = 1 << 20
_WHEELS_MAX: Final = 500
_DIGEST_CHARS: Final = 12


@dataclass(frozen=True, slots=True)
class Wheel:
    """One file that a host gets."""

    path: Path
    sha256: str
    size_bytes: int

    @property
    def project(self) -> str:
        """The project's name as wheels spell it."""
        return self.path.name.partition("-")[0]


@dataclass(frozen=True, slots=True)
class Suite:
    """Our own wheels for a host, and the exact requirements that belong to them."""

    version: str
    wheels: tuple[Wheel, ...]
    requirements: str

    @property
    def release(self) -> str:
        """The name of the folder on the host: the same content has the same name."""
        content = hashlib.sha256(self.requirements.encode("utf-8"))
        for wheel in sorted(self.wheels, key=lambda one: one.path.name):
            content.update(f"{wheel.path.name}\0{wheel.sha256}\0".encode())
        return f"{self.version}-{content.hexdigest()[:_DIGEST_CHARS]}"


@dataclass(frozen=True, slots=True)
class ThirdParty:
    """Everything else that hosts of one platform need, so that they ask no index."""

    platform: str
    python: str
    wheels: tuple[Wheel, ...]
    uv: Wheel | None


def read_suite(folder: Path) -> Suite | Refusal:
    """Read the suite's own wheels, hashed."""
    listed = _listed(folder, "suite.json")
    if isinstance(listed, Refusal):
        return listed
    version = listed.get("version")
    if not isinstance(version, str) or not _VERSION.fullmatch(version):
        return _broken(folder, "suite.json names no version")
    wheels = _wheels(folder, listed)
    if isinstance(wheels, Refusal):
        return wheels
    mine = tuple(wheel for wheel in wheels if wheel.project in HOST_SIDE)
    missing = sorted(set(HOST_SIDE) - {wheel.project for wheel in mine})
    if missing:
        return _broken(folder, f"{', '.join(missing)} is missing")
    try:
        requirements = (folder / "requirements.txt").read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return _broken(folder, "requirements.txt cannot be read")
    return Suite(version, mine, requirements)


def read_third_party(folder: Path, platform: str) -> ThirdParty | Refusal:
    """Read the wheels for one platform; folder may be theirs or the one above."""
    inside = folder / platform
    folder = inside if inside.is_dir() else folder
    listed = _listed(folder, "third-party.json")
    if isinstance(listed, Refusal):
        again = f"./dev wheels --third-party {platform}"
        line = f"there are no wheels for {platform} in {folder}: make them with {again}"
        return Refusal(Code.NOT_FOUND, line) if listed.code is Code.NOT_FOUND else listed
    if listed.get("platform") != platform:
        line = (
            f"the wheels in {folder} are for {str(listed.get('platform'))!r}, the host is "
            f"{platform}: make others with ./dev wheels --third-party {platform}"
        )
        return Refusal(Code.INVALID_REQUEST, line)
    python = listed.get("python")
    if not isinstance(python, str) or not re.fullmatch(r"3\.\d{1,2}", python):
        return _broken(folder, "third-party.json names no Python")
    wheels = _wheels(folder, listed)
    if isinstance(wheels, Refusal):
        return wheels
    uv = next((wheel for wheel in wheels if wheel.project == "uv"), None)
    others = tuple(wheel for wheel in wheels if wheel.project != "uv")
    return ThirdParty(platform, python, others, uv)


def _listed(folder: Path, name: str) -> Mapping[str, object] | Refusal:
    file = folder / name
    try:
        with file.open("rb") as stream:
            text = stream.read(_LIST_MAX_BYTES + 1)
        listed: object = json.loads(text) if len(text) <= _LIST_MAX_BYTES else None
    except FileNotFoundError:
        line = f"{folder} has no {name}: make it with ./dev wheels --out {folder}"
        return Refusal(Code.NOT_FOUND, line)
    except (OSError, ValueError):
        return _broken(folder, f"{name} cannot be read")
    if not isinstance(listed, dict):
        return _broken(folder, f"{name} is no list of wheels")
    return cast("dict[str, object]", listed)


def _wheels(folder: Path, listed: Mapping[str, object]) -> Sequence[Wheel] | Refusal:
    rows = listed.get("wheels")
    if not isinstance(rows, list):
        return _broken(folder, "its list names no wheels")
    wheels: list[Wheel] = []
    for row in cast("list[object]", rows)[:_WHEELS_MAX]:
        wheel = _wheel(folder, row)
        if isinstance(wheel, Refusal):
            return wheel
        wheels.append(wheel)
    return wheels


def _wheel(folder: Path, row: object) -> Wheel | Refusal:
    entry = cast("dict[str, object]", row) if isinstance(row, dict) else {}
    name, wanted = entry.get("file"), entry.get("sha256")
    if not isinstance(name, str) or not _FILE.fullmatch(name):
        return _broken(folder, "its list names a file that is no wheel")
    if not isinstance(wanted, str) or not _SHA256.fullmatch(wanted):
        return _broken(folder, f"its list has no digest of {name}")
    path = folder / name
    try:
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
            size_bytes = stream.tell()
    except OSError:
        return _broken(folder, f"{name} is missing")
    if found != wanted:
        return _broken(folder, f"{name} is not the file that was built")
    return Wheel(path, found, size_bytes)


def _broken(folder: Path, reason: str) -> Refusal:
    line = f"the wheels in {folder} cannot be used: {reason}; make them anew with ./dev wheels"
    return Refusal(Code.DATA_CORRUPT, line)
