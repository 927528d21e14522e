"""Says in one line what a host's own disk or rights keep us from, and what would help: pure."""

import errno
from typing import Final

from orchestrator_core.errors import Code, Refusal

__all__ = ["explain_host"]

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_NOT_OURS: Final = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ELOOP}
)


def explain_host(error: OSError) -> Refusal:
    """What an error of the models folder means for whoever wanted something of it."""
    place = f"{error.filename}: " if error.filename else ""
    line = f"the models folder: {place}{error.strerror or error}"
    if error.errno in _FULL:
        more = "llorch-pool models delete --to-free SIZE makes room"
        return Refusal(Code.DISK_LOW, f"{line}; {more}")
    if error.errno in _NOT_OURS:
        more = "give this user a folder to write to, or set models_folder in pool.toml"
        return Refusal(Code.CONFIG_INVALID, f"{line}; {more}")
    return Refusal(Code.INTERNAL, line)
