"""Judges folders, free space, modes and left-over files: pure."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from orchestrator_core.findings import Finding, Severity
from orchestrator_core.units import GIB, MIB, format_bytes
from pool_core.doctor.facts import Folder, StorageFacts
from pool_core.doctor.mounts import NETWORK

__all__ = ["judge_storage"]

_FULL_BYTES: Final = 64 * MIB
_TIGHT_BYTES: Final = GIB
_TIGHT_FOR_MODELS_BYTES: Final = 5 * GIB
_FULL_FILES: Final = 100
_TIGHT_FILES: Final = 2000
_SHOWN: Final = 3


def judge_storage(facts: StorageFacts) -> Iterator[Finding]:
    """Where everything is kept."""
    for folder in facts.folders:
        found = list(_folder(folder))
        room = f", {format_bytes(folder.free_bytes)} free" if folder.free_bytes else ""
        fine = Finding(Severity.OK, f"{folder.name} folder", f"{folder.path}{room}")
        yield from found or [fine]
    if facts.open_secrets:
        text = f"other users can read {_some(facts.open_secrets)}"
        fix = f"chmod 600 {_all(facts.open_secrets)}"
        yield Finding(Severity.ERROR, "keys", text, fix)
    if facts.set_aside:
        text = f"records of workers that could not be taken over: {_some(facts.set_aside)}"
        fix = f"see that their processes have ended, then rm {_all(facts.set_aside)}"
        yield Finding(Severity.WARNING, "left-over records", text, fix)
    for log in facts.crash_logs:
        text = f"a command has crashed; its traceback is in {log}"
        yield Finding(Severity.NOTE, "crash log", text, f"report it, then rm {log}")


def _folder(folder: Folder) -> Iterator[Finding]:
    subject = f"{folder.name} folder"
    if folder.obstacle is not None:
        text = f"{folder.obstacle} is in the way: it is no folder"
        fix = f"mv {folder.obstacle} {folder.obstacle}.old"
        yield Finding(Severity.ERROR, subject, text, fix)
        return
    if not folder.is_writable:
        text = f"{folder.path} cannot be written by this user"
        yield Finding(Severity.ERROR, subject, text, f'sudo chown -R "$USER" {folder.path}')
    if folder.mode is not None and folder.holds_secrets and folder.mode & 0o077:
        text = f"{folder.path} holds keys and is open to others (mode {folder.mode:o})"
        yield Finding(Severity.WARNING, subject, text, f"chmod 700 {folder.path}")
    yield from _space(folder, subject)
    yield from _files(folder, subject)
    yield from _network(folder, subject)


def _space(folder: Folder, subject: str) -> Iterator[Finding]:
    free = folder.free_bytes
    if free is None:
        return
    tight = _TIGHT_FOR_MODELS_BYTES if folder.name == "models" else _TIGHT_BYTES
    text = f"{format_bytes(free)} are free in {folder.path}"
    fix = "free some space, or move the folder (LLORCH_HOME) to a larger disk"
    if free < _FULL_BYTES:
        yield Finding(Severity.ERROR, subject, text, fix)
    elif free < tight:
        yield Finding(Severity.WARNING, subject, text, fix)


def _files(folder: Folder, subject: str) -> Iterator[Finding]:
    free = folder.free_files
    if free is not None and free < _TIGHT_FILES:
        severity = Severity.ERROR if free < _FULL_FILES else Severity.WARNING
        text = f"the filesystem of {folder.path} has room for {free} more files (inodes)"
        yield Finding(severity, subject, text, "remove files that nobody needs")


def _network(folder: Folder, subject: str) -> Iterator[Finding]:
    if folder.filesystem not in NETWORK:
        return
    if folder.name in ("state", "pool"):
        text = f"{folder.path} lies on {folder.filesystem}: locks there may not hold"
        fix = "put it on a local disk (LLORCH_HOME, XDG_STATE_HOME)"
        yield Finding(Severity.WARNING, subject, text, fix)
    elif folder.name == "models":
        text = f"{folder.path} lies on {folder.filesystem}: models load slowly from there"
        fix = "put it on a local disk (LLORCH_HOME, XDG_DATA_HOME)"
        yield Finding(Severity.NOTE, subject, text, fix)


def _some(paths: Sequence[Path]) -> str:
    shown = ", ".join(path.name for path in paths[:_SHOWN])
    more = len(paths) - _SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _all(paths: Sequence[Path]) -> str:
    return " ".join(str(path) for path in paths)
