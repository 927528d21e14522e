"""Finds the filesystem that a path lies on, from the text of /proc/self/mountinfo: pure."""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

__all__ = ["NETWORK", "Mount", "mount_of", "parse_mounts"]

NETWORK: Final = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "9p", "virtiofs", "ceph", "lustre"}
    | {"fuse.ceph", "fuse.glusterfs", "afs", "beegfs", "gpfs"}
)

_ESCAPE: Final = re.compile(r"\\([0-7]{3})")
_MIN_FIELDS: Final = 5


@dataclass(frozen=True, slots=True)
class Mount:
    """Where a filesystem is mounted and of which kind it is."""

    point: PurePosixPath
    kind: str


def parse_mounts(text: str) -> list[Mount]:
    """Every mount; lines that make no sense are left out."""
    mounts: list[Mount] = []
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        fields, kinds = left.split(), right.split()
        if len(fields) >= _MIN_FIELDS and kinds:
            mounts.append(Mount(PurePosixPath(_plain(fields[4])), kinds[0]))
    return mounts


def mount_of(path: PurePosixPath, mounts: list[Mount]) -> Mount | None:
    """The mount with the longest point above the path; of two on one point the later covers."""
    best: Mount | None = None
    for mount in mounts:
        above = path.is_relative_to(mount.point)
        if above and (best is None or len(mount.point.parts) >= len(best.point.parts)):
            best = mount
    return best


def _plain(text: str) -> str:
    return _ESCAPE.sub(lambda found: chr(int(found.group(1), 8)), text)
