"""Sends files to a host: only those that are not there already, by their digests."""

import io
import re
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from llorch_ctl.enrolment import scripts
from llorch_ctl.enrolment.door import Door
from llorch_ctl.enrolment.wheelhouse import Wheel
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.units import MIB, format_bytes

__all__ = ["Tell", "deliver", "uv_target"]

Tell = Callable[[str], None]

_LINE: Final = re.compile(r"([0-9a-f]{64})  (?:\./)?(\S+)", re.ASCII)
_PROGRESS_STEP_BYTES: Final = 16 * MIB
_PROGRAM_MODE: Final = 0o755
_UV_MAX_BYTES: Final = 256 * MIB
_UNPACK_TIMEOUT_S: Final = 120.0


@dataclass(slots=True)
class _Progress:
    """Says now and then how much has been sent."""

    total_bytes: int
    tell: Tell
    told_bytes: int = 0

    def at(self, sent_bytes: int) -> None:
        if sent_bytes - self.told_bytes >= _PROGRESS_STEP_BYTES:
            self.told_bytes = sent_bytes
            self.tell(f"      {format_bytes(sent_bytes)} of {format_bytes(self.total_bytes)} sent")


def uv_target(uv: Wheel) -> str:
    """The name of the pushed uv on the host, by its content."""
    return f"tools/uv-{uv.sha256[:12]}"


async def deliver(
    door: Door, root: str, wheels: Sequence[Wheel], uv: Wheel | None, tell: Tell
) -> int | Refusal:
    """Send what is missing and tell its size; afterwards every wheel there is what it is here."""
    there = await _digests(door, root)
    if isinstance(there, Refusal):
        return there
    missing = [wheel for wheel in wheels if there.get(f"wheels/{wheel.path.name}") != wheel.sha256]
    wanted_uv = uv if uv is not None and uv_target(uv) not in there else None
    if not missing and wanted_uv is None:
        return 0
    # One file costs one login and one round trip; forty cost forty.
    with tempfile.TemporaryDirectory(prefix="llorch-") as folder:
        parcel = Path(folder) / "parcel.tar"
        size_bytes = _pack(parcel, missing, wanted_uv)
        if isinstance(size_bytes, Refusal):
            return size_bytes
        refusal = await _send(door, root, parcel, size_bytes, tell)
    refusal = refusal or await _verify(door, root, wheels)
    return refusal or size_bytes


def _pack(parcel: Path, wheels: Sequence[Wheel], uv: Wheel | None) -> int | Refusal:
    with tarfile.open(parcel, "w") as archive:
        for wheel in wheels:
            archive.add(wheel.path, f"wheels/{wheel.path.name}", filter=_plain)
        if uv is not None:
            program = _program_of(uv)
            if program is None:
                return Refusal(Code.DATA_CORRUPT, f"{uv.path} holds no uv: make it anew")
            item = tarfile.TarInfo(uv_target(uv))
            item.size, item.mode = len(program), _PROGRAM_MODE
            archive.addfile(item, io.BytesIO(program))
    return parcel.stat().st_size


def _plain(item: tarfile.TarInfo) -> tarfile.TarInfo:
    """Nothing of this machine's users and times goes along."""
    item.uid, item.gid, item.uname, item.gname, item.mode = 0, 0, "", "", 0o644
    return item


async def _send(door: Door, root: str, parcel: Path, size_bytes: int, tell: Tell) -> Refusal | None:
    progress = _Progress(size_bytes, tell)
    target = f"{root}/tools/parcel.tar"
    refusal = await door.connection.upload(parcel, target, tell=progress.at)
    if refusal is not None:
        return refusal
    opened = await door.script(scripts.unpack(root), "unpacking", timeout_s=_UNPACK_TIMEOUT_S)
    return opened if isinstance(opened, Refusal) else None


async def _verify(door: Door, root: str, wheels: Sequence[Wheel]) -> Refusal | None:
    there = await _digests(door, root)
    if isinstance(there, Refusal):
        return there
    for wheel in wheels:
        if there.get(f"wheels/{wheel.path.name}") != wheel.sha256:
            line = f"{door.name}: {wheel.path.name} arrived with other content: try again"
            return Refusal(Code.DATA_CORRUPT, line)
    return None


def _program_of(uv: Wheel) -> bytes | None:
    """The program alone: a host without Python cannot unpack a wheel."""
    with zipfile.ZipFile(uv.path) as wheel:
        for item in wheel.infolist():
            if item.filename.endswith(".data/scripts/uv") and item.file_size <= _UV_MAX_BYTES:
                return wheel.read(item)
    return None


async def _digests(door: Door, root: str) -> dict[str, str] | Refusal:
    text = await door.script(scripts.list_digests(root), "looking at what is there", timeout_s=120)
    if isinstance(text, Refusal):
        return text
    found = (_LINE.fullmatch(line.strip()) for line in text.splitlines())
    return {match[2]: match[1] for match in found if match}
