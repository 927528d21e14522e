"""Judges programs, folders, keys on disk, what SSH goes by, and the settings files: pure."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from llorch_ctl.diagnosis.facts import FolderFacts, LocalFacts, SettingsFault, SshFacts
from orchestrator_core.findings import Finding, Severity
from orchestrator_core.units import GIB, MIB, format_bytes

__all__ = ["judge_local", "judge_settings", "judge_ssh"]

_FULL_BYTES: Final = 64 * MIB
_TIGHT_BYTES: Final = GIB
_SHOWN: Final = 3
_INSTALL: Final = 'pip install "llorch-ctl[all]"'


def judge_local(facts: LocalFacts) -> Iterator[Finding]:
    """What is installed, and where it keeps its files."""
    version = ".".join(str(number) for number in facts.python)
    yield Finding(Severity.OK, "llorch", f"llorch {facts.version} on Python {version}")
    missing = [name for name, path in facts.programs.items() if path is None]
    for name, path in facts.programs.items():
        if path is not None:
            yield Finding(Severity.OK, name, str(path))
    if missing:
        text = f"not installed here: {', '.join(missing)}; this machine can only control others"
        yield Finding(Severity.NOTE, "programs", text, _INSTALL)
    for folder in facts.folders:
        yield from _folder(folder)
    if facts.open_secrets:
        text = f"other users can read {_some(facts.open_secrets)}"
        yield Finding(Severity.ERROR, "keys", text, f"chmod 600 {_all(facts.open_secrets)}")
    for log in facts.crash_logs:
        text = f"a command has crashed; its traceback is in {log}"
        yield Finding(Severity.NOTE, "crash log", text, f"report it, then rm {log}")


def judge_ssh(facts: SshFacts) -> Iterator[Finding]:
    """Whether this user can log in at hosts."""
    for path in facts.unreadable:
        text = f"{path} cannot be read by this user"
        yield Finding(Severity.ERROR, "ssh", text, f'sudo chown "$USER" {path}')
    if facts.open_keys:
        text = f"other users can read {_some(facts.open_keys)}: ssh does not take such keys"
        yield Finding(Severity.ERROR, "ssh keys", text, f"chmod 600 {_all(facts.open_keys)}")
    if facts.agent is not None and not facts.agent_answers:
        text = f"SSH_AUTH_SOCK names {facts.agent}, where no agent answers"
        fix = 'eval "$(ssh-agent)" && ssh-add, or unset SSH_AUTH_SOCK'
        yield Finding(Severity.WARNING, "ssh agent", text, fix)
    elif facts.agent is not None:
        yield Finding(Severity.OK, "ssh agent", f"an agent listens at {facts.agent}")
    if facts.keys:
        yield Finding(Severity.OK, "ssh keys", _some(facts.keys))
    elif not facts.agent_answers:
        text = "this user has no SSH key and no agent: no host can be reached"
        fix = "ssh-keygen -t ed25519, then ssh-copy-id USER@HOST"
        yield Finding(Severity.WARNING, "ssh keys", text, fix)
    if facts.known_hosts:
        yield Finding(Severity.OK, "known hosts", _some(facts.known_hosts))
    else:
        text = "no host key is known yet"
        yield Finding(Severity.NOTE, "known hosts", text, "llorch host trust NAME")


def judge_settings(faults: Iterable[SettingsFault]) -> Iterator[Finding]:
    """What is wrong in settings."""
    found = [Finding(Severity.ERROR, fault.subject, fault.text, fault.fix) for fault in faults]
    yield from found or [Finding(Severity.OK, "settings", "every settings file can be used")]


def _folder(folder: FolderFacts) -> Iterator[Finding]:
    subject = f"{folder.name} folder"
    room = f"{format_bytes(folder.free_bytes)} free"
    fix = "free some space, or move the folder (LLORCH_HOME) to a larger disk"
    if folder.obstacle is not None:
        text = f"{folder.obstacle} is in the way: it is no folder"
        fix = f"mv {folder.obstacle} {folder.obstacle}.old"
        yield Finding(Severity.ERROR, subject, text, fix)
        return
    if not folder.is_writable:
        text = f"{folder.path} cannot be written by this user"
        yield Finding(Severity.ERROR, subject, text, f'sudo chown -R "$USER" {folder.path}')
    elif folder.free_bytes < _FULL_BYTES:
        yield Finding(Severity.ERROR, subject, f"{folder.path}: only {room}", fix)
    elif folder.free_bytes < _TIGHT_BYTES:
        yield Finding(Severity.WARNING, subject, f"{folder.path}: only {room}", fix)
    else:
        yield Finding(Severity.OK, subject, f"{folder.path}, {room}")
    if folder.mode is not None and folder.name == "state" and folder.mode & 0o077:
        text = f"{folder.path} holds keys and is open to others (mode {folder.mode:o})"
        yield Finding(Severity.WARNING, subject, text, f"chmod 700 {folder.path}")


def _some(paths: Sequence[Path]) -> str:
    shown = ", ".join(str(path) for path in paths[:_SHOWN])
    more = len(paths) - _SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _all(paths: Sequence[Path]) -> str:
    return " ".join(str(path) for path in paths)
