"""Lets one command at a time change a host: two would undo each other's steps."""

import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from llorch_ctl.settings import CliSettings
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.platforms import files

__all__ = ["host_turn"]

_TRIES: Final = 20
_STEP_S: Final = 0.1


@contextmanager
def host_turn(settings: CliSettings, name: str) -> Generator[Refusal | None]:
    """Hold a host for the block, or say that somebody else does; a killed command holds nothing."""
    folder = settings.layout.host_secrets
    files.ensure_folder(folder)
    lock = files.FileLock(folder / f".{name}.lock")
    for _ in range(_TRIES):
        if lock.try_acquire():
            break
        # A command that was killed a moment ago may still be on its way out.
        time.sleep(_STEP_S)
    else:
        line = f"another command is changing {name} now: wait until it has ended"
        yield Refusal(Code.CONFLICT, line)
        return
    try:
        yield None
    finally:
        lock.release()
