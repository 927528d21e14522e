"""Run files: how a command finds a daemon of this installation that is alive now.

A daemon writes its own once it listens; a file whose process has ended or is another is no answer.
"""

from pathlib import Path

from pydantic import ValidationError

from orchestrator_core.contracts.control import RunFile
from orchestrator_core.platforms import files
from orchestrator_core.platforms.port import Platform, ProcessIdentity

__all__ = ["identity_of", "read", "read_live", "remove", "write"]


def write(folder: Path, run: RunFile) -> None:
    """Publish where a daemon listens, for this user only."""
    files.ensure_folder(folder)
    body = run.model_dump_json(indent=2) + "\n"
    files.write_atomically(_path(folder, run.daemon), body.encode("utf-8"), mode=0o600)


def read(folder: Path, daemon: str) -> RunFile | None:
    """Read a run file as it lies there; None when it is missing or unreadable."""
    try:
        return RunFile.model_validate_json(_path(folder, daemon).read_bytes())
    except (OSError, ValidationError):
        return None


def read_live(folder: Path, daemon: str, platform: Platform) -> RunFile | None:
    """Read the run file of a daemon that runs now; None when its process is not the same."""
    run = read(folder, daemon)
    if run is None or run.daemon != daemon or not platform.is_alive(identity_of(run)):
        return None
    return run


def remove(folder: Path, daemon: str, pid: int) -> None:
    """Take a daemon's own run file away, but never one that a successor has written."""
    run = read(folder, daemon)
    if run is not None and run.pid == pid:
        _path(folder, daemon).unlink(missing_ok=True)


def identity_of(run: RunFile) -> ProcessIdentity:
    """The process that a run file speaks of."""
    return ProcessIdentity(run.pid, run.start_time, run.boot_id)


def _path(folder: Path, daemon: str) -> Path:
    return folder / f"{daemon}.json"
