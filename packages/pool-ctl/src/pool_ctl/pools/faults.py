"""What a command says when the pool of this host cannot be reached or used: one line each."""

import errno
from typing import Final

from orchestrator_core.config.layout import POOL_MANAGERD, Layout
from orchestrator_core.contracts.control import RunFile
from orchestrator_core.errors import Code, LlorchError, Refusal, error_for

__all__ = ["broke", "broken_off", "silent", "unusable", "was_refused"]

_NO_ANSWER: Final = frozenset({Code.UNREACHABLE, Code.TIMEOUT})


def unusable(layout: Layout, error: OSError) -> LlorchError:
    """Say why the pool's folder cannot be used."""
    why = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return error_for(Refusal(Code.DISK_LOW, f"{layout.pool_folder}: {why}"))
    text = f"the pool's folder {layout.pool_folder} cannot be used: {why}"
    return error_for(Refusal(Code.CONFIG_INVALID, text))


def silent(run: RunFile, error: LlorchError) -> LlorchError:
    """Name the daemon that is there and gives no answer of its own."""
    text = f"{POOL_MANAGERD} (pid {run.pid}) runs but does not answer at {run.url}"
    code = error.code if error.code in _NO_ANSWER else Code.UNREACHABLE
    return error_for(Refusal(code, text))


def broken_off(run: RunFile, error: LlorchError, order: str) -> LlorchError:
    """Say that an order may have been carried out, and what shows it."""
    text = (
        f"{POOL_MANAGERD} (pid {run.pid}) broke off while it was asked to {order}: it may have "
        "done so or not; llorch-pool worker list shows it"
    )
    return error_for(Refusal(error.code, text))


def broke(error: LlorchError) -> bool:
    """Tell whether no answer came at all, which a daemon's own refusal is not."""
    return error.code in _NO_ANSWER and error.__cause__ is not None


def was_refused(error: LlorchError) -> bool:
    """Tell whether nobody took the call, so that nothing of it can have been carried out."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ConnectionRefusedError):
            return True
        cause = cause.__cause__
    return False
