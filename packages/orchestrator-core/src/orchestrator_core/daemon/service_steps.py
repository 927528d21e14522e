"""What it takes to install or remove a service: a plan of steps, which is data, and its execution.

A plan can be shown before anything happens. Each step may be done twice without harm.
"""

import os
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator_core.daemon.services import Account, Manager, Run, Service
from orchestrator_core.daemon.units import MARK
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.platforms import files

__all__ = [
    "Command",
    "MakeLog",
    "RemoveFile",
    "Step",
    "WriteFile",
    "apply",
    "describe",
    "install_steps",
    "is_loaded",
    "read_ours",
    "remove_steps",
]

_POLL_S: Final = 0.5
_POLLS_MAX: Final = 120


@dataclass(frozen=True, slots=True)
class WriteFile:
    """Put a text into a file that everyone may read."""

    path: Path
    text: str


@dataclass(frozen=True, slots=True)
class RemoveFile:
    """Take a file away."""

    path: Path


@dataclass(frozen=True, slots=True)
class MakeLog:
    """Make an empty log that the service's user may write; launchd makes no folders."""

    path: Path
    owner: Account


@dataclass(frozen=True, slots=True)
class Command:
    """Run a command; one that is repeated waits until what it asks for is no more."""

    argv: tuple[str, ...]
    may_fail: bool = False
    until_it_fails: bool = False


Step = WriteFile | RemoveFile | MakeLog | Command


def read_ours(path: Path) -> str | Refusal | None:
    """The text of a service that we have installed; a stranger's file is refused."""
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        return Refusal(Code.CONFLICT, f"{path} cannot be read: {error}")
    if MARK not in text:
        reason = f"{path} was not made by this command: move it away, or change it by hand"
        return Refusal(Code.CONFLICT, reason)
    return text


def is_loaded(service: Service, run: Run) -> bool:
    """Tell whether the manager knows the service now; systemd is told each time anyway."""
    return (
        service.manager is Manager.LAUNCHD and run(service.control("print", service.name)).code == 0
    )


def install_steps(
    service: Service,
    text: str,
    *,
    installed: str | None,
    loaded: bool,
    now: bool,
    log: MakeLog | None = None,
) -> list[Step]:
    """What is missing for the service to be installed with this text, and to run if it shall."""
    changed = installed != text
    written: list[Step] = [WriteFile(service.path, text)] if changed else []
    if service.manager is Manager.SYSTEMD:
        reload: list[Step] = [Command(service.control("daemon-reload"))] if changed else []
        enable = Command(service.control("enable", service.name))
        # A restart starts what does not run. Workers do not notice it.
        start = Command(service.control("restart" if changed else "start", service.name))
        return [*written, *reload, enable, *([start] if now else [])]
    if loaded and not changed:
        return []
    made: list[Step] = [log] if log else []
    if not now:
        return [*made, *written]
    load = Command(service.control("bootstrap", service.domain, str(service.path)))
    # Whatever was switched off by hand stays off else, and its load fails without a reason.
    enable = Command(service.control("enable", service.name), may_fail=True)
    return [*made, *(_unload(service) if loaded else []), *written, enable, load]


def remove_steps(service: Service, *, loaded: bool, now: bool) -> list[Step]:
    """What takes the service away again; without now, a running daemon is left alone."""
    gone = RemoveFile(service.path)
    if service.manager is Manager.LAUNCHD:
        return [*(_unload(service) if loaded and now else []), gone]
    disable = service.control("disable", *(["--now"] if now else []), service.name)
    return [
        Command(disable),
        gone,
        Command(service.control("daemon-reload")),
        # Fails for a service that never failed.
        Command(service.control("reset-failed", service.name), may_fail=True),
    ]


def describe(step: Step) -> str:
    """Say in one line what a step does."""
    if isinstance(step, WriteFile):
        return f"write {step.path}"
    if isinstance(step, RemoveFile):
        return f"remove {step.path}"
    if isinstance(step, MakeLog):
        return f"make the log {step.path}"
    return f"{'wait for the end of' if step.until_it_fails else 'run'}: {shlex.join(step.argv)}"


def apply(
    steps: Sequence[Step], run: Run, *, pause: Callable[[float], None] = time.sleep
) -> Refusal | None:
    """Do one step after the other; the first that fails ends it and is named."""
    for step in steps:
        try:
            failure = _act(step, run, pause)
        except OSError as error:
            failure = str(error)
        if failure is not None:
            return Refusal(Code.INTERNAL, f"could not {describe(step)}: {failure}")
    return None


def _unload(service: Service) -> list[Step]:
    # launchd answers before the job has ended, and refuses a new one of the same name meanwhile.
    return [
        Command(service.control("bootout", service.name), may_fail=True),
        Command(service.control("print", service.name), until_it_fails=True),
    ]


def _act(step: Step, run: Run, pause: Callable[[float], None]) -> str | None:
    if isinstance(step, WriteFile):
        files.ensure_folder(step.path.parent, 0o755)
        files.write_atomically(step.path, step.text.encode("utf-8"), mode=0o644)
    elif isinstance(step, RemoveFile):
        step.path.unlink(missing_ok=True)
    elif isinstance(step, MakeLog):
        _make_log(step)
    elif step.until_it_fails:
        return _wait_for_failure(step, run, pause)
    else:
        ran = run(step.argv)
        if ran.code != 0 and not step.may_fail:
            lines = ran.output.strip().splitlines()
            return lines[-1] if lines else f"exit code {ran.code}"
    return None


def _make_log(step: MakeLog) -> None:
    files.ensure_folder(step.path.parent)
    try:
        fd = os.open(step.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return
    try:
        os.fchown(fd, step.owner.uid, step.owner.gid)
    finally:
        os.close(fd)


def _wait_for_failure(step: Command, run: Run, pause: Callable[[float], None]) -> str | None:
    for _ in range(_POLLS_MAX):
        if run(step.argv).code != 0:
            return None
        pause(_POLL_S)
    return f"it is still there after {_POLLS_MAX * _POLL_S:g} s"
