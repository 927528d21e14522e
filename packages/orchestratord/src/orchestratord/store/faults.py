"""Says what an error of SQLite means: a full disk, a failed disk, or one bad write.

Pure tables over the primary result codes; the writer and the opening of the file ask them.
"""

import sqlite3
from enum import Enum
from typing import Final

from orchestrator_core.errors import Code, DataError, HostError, LlorchError, Refusal

__all__ = [
    "DISK_RETRY_AFTER_S",
    "Fault",
    "classify",
    "disk_full",
    "error_of",
    "is_unreadable",
    "refused_write",
]

DISK_RETRY_AFTER_S: Final = 30

_PRIMARY_MASK: Final = 0xFF


class Fault(Enum):
    """How far an error reaches."""

    WRITE = "write"  # only this write
    GROUP = "group"  # all writes of its transaction; later ones may work
    FULL = "full"  # all writes of its transaction; the same ones work once there is space
    STORE = "store"  # nothing can be trusted until a restart


_GROUP_CODES: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_INTERRUPT,
    }
)
_STORE_CODES: Final = frozenset(
    {
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_PROTOCOL,
    }
)
# The index of the log of writes grows by writing, and a full disk is told apart nowhere else.
_FULL_CODES: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE})
_CORRUPT_CODES: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_UNREADABLE_CODES: Final = _CORRUPT_CODES | {sqlite3.SQLITE_IOERR}


def _code(error: Exception) -> int:
    # An error that Python's module raises itself (a value it cannot bind) carries no code.
    code = getattr(error, "sqlite_errorcode", None)
    return code if isinstance(code, int) else sqlite3.SQLITE_ERROR


def _primary_code(error: Exception) -> int:
    return _code(error) & _PRIMARY_MASK


def classify(error: Exception) -> Fault:
    """Tell whether an error spoils one write, one group or the store."""
    if _code(error) in _FULL_CODES:
        return Fault.FULL
    code = _primary_code(error)
    if code in _STORE_CODES:
        return Fault.STORE
    return Fault.GROUP if code in _GROUP_CODES else Fault.WRITE


def is_unreadable(error: Exception) -> bool:
    """True when a read tells of a damaged file or a failing disk, not only of itself."""
    return _primary_code(error) in _UNREADABLE_CODES and _code(error) not in _FULL_CODES


def error_of(error: Exception) -> LlorchError:
    """Put an error that reaches beyond one write into words."""
    if _code(error) in _FULL_CODES:
        return disk_full()
    code = _primary_code(error)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        text = "another process holds the store's file: close what has opened it"
        return HostError(Refusal(Code.DATA_IN_USE, text))
    if code in _CORRUPT_CODES:
        text = f"the store's file is damaged ({error}): stop the daemon and restore a backup"
        return HostError(Refusal(Code.DATA_CORRUPT, text))
    text = f"the store failed ({error}): check the disk, then restart the daemon"
    return HostError(Refusal(Code.INTERNAL, text))


def disk_full() -> HostError:
    """What a write is told that found no room."""
    text = "the disk under the store is full: free space, nothing was written"
    return HostError(Refusal(Code.DISK_LOW, text, retry_after_s=DISK_RETRY_AFTER_S))


def refused_write(name: str, error: Exception) -> DataError:
    """Put an error that concerns one write alone into words."""
    return DataError(Refusal(Code.CONFLICT, f"the store refused {name}: {error}"))
