"""Turns what a thread failed with into the line that a caller is shown: pure."""

import errno
from typing import Final

from orchestrator_core.errors import Code, LlorchError, Refusal

__all__ = ["explain_fault"]

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


def explain_fault(error: BaseException, what: str) -> Refusal:
    """Say what failed and why; what nobody foresaw stays in the log."""
    if isinstance(error, LlorchError):
        return error.refusal
    if isinstance(error, OSError):
        code = Code.DISK_LOW if error.errno in _FULL else Code.INTERNAL
        place = f"{error.filename}: " if error.filename else ""
        return Refusal(code, f"{what} failed: {place}{error.strerror or error}")
    return Refusal(Code.INTERNAL, f"{what} failed; the log of pool-managerd says why")
