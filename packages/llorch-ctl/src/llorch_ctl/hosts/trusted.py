"""The host keys that `llorch host trust` has accepted: known_hosts lines in a file of our own.

Decides what a key means that a host shows now; nothing else ever writes the file.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from llorch_ctl.hosts.locking import locked
from orchestrator_core.errors import Code, Refusal, error_for
from orchestrator_core.platforms import files

__all__ = ["Shown", "Standing", "accept_keys", "standing_of", "with_entries"]

_SIZE_MAX_BYTES: Final = 4 << 20


class Standing(StrEnum):
    """What we know of a host by the keys that it shows."""

    UNKNOWN = "unknown"
    KNOWN = "known"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class Shown:
    """A key that a host shows: its kind, its fingerprint, and its line in known_hosts."""

    kind: str
    fingerprint: str
    entry: str

    @property
    def name(self) -> str:
        """How known_hosts spells the host."""
        return self.entry.partition(" ")[0]


def standing_of(shown: Sequence[Shown], known: Sequence[str]) -> Standing:
    """Compare the fingerprints that are known under the host's name with those that it shows."""
    if not known:
        return Standing.UNKNOWN
    if any(key.fingerprint in known for key in shown):
        return Standing.KNOWN
    return Standing.CHANGED


def with_entries(
    text: str, name: str, entries: Sequence[str], *, replace: bool = False
) -> str | Refusal:
    """The file with these lines; replace puts them in the place of all others of the same host.

    Without it another key of the same kind is one that somebody has accepted since we looked.
    """
    lines = text.splitlines()
    others = [line for line in lines if line.partition(" ")[0] != name]
    theirs = [line for line in lines if line.partition(" ")[0] == name]
    kinds = {_kind(entry) for entry in entries}
    if replace:
        theirs = []
    elif any(_kind(line) in kinds and line not in entries for line in theirs):
        reason = f"another command has accepted another key of {name}: compare both, and try again"
        return Refusal(Code.CONFLICT, reason)
    kept = [*others, *(line for line in theirs if line not in entries)]
    return "".join(f"{line}\n" for line in (*kept, *entries))


def accept_keys(file: Path, keys: Sequence[Shown], *, replace: bool = False) -> None:
    """Write the keys of one host, for this user only."""
    entries = [key.entry for key in keys]
    try:
        files.ensure_folder(file.parent)
        with locked(file):
            changed = with_entries(_read(file), keys[0].name, entries, replace=replace)
            if isinstance(changed, Refusal):
                raise error_for(changed)
            # Bytes that are no text, whoever wrote them, stay as they are.
            data = changed.encode("utf-8", "surrogateescape")
            files.write_atomically(file, data, mode=0o600)
    except OSError as error:
        line = f"cannot write {file}: {error.strerror}"
        raise error_for(Refusal(Code.CONFIG_INVALID, line)) from error


def _kind(line: str) -> str:
    return " ".join(line.split()[1:2])


def _read(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            data = stream.read(_SIZE_MAX_BYTES + 1)
    except FileNotFoundError:
        return ""
    if len(data) > _SIZE_MAX_BYTES:
        line = f"{file} is larger than 4 MiB: somebody else writes it; put it aside"
        raise error_for(Refusal(Code.CONFIG_INVALID, line))
    return data.decode("utf-8", "surrogateescape")
