"""Says what an error of SQLite means: a full disk, a failed disk, or one bad write.

Pure tables over the primary result codes; the writer and the opening of the file ask them.
"""

import sqlite3
from enum import Enum
from typing import Final

from orchestrator_core.errors import Code, DataError, HostError, LlorchError, Refusal

__all__ = ["Fault", "classify", "error_of", "refused_write"]

_PRIMARY_MASK: Final = 0xFF


class Fault(Enum):
    """How far an error reaches."""

    WRITE = "write"  # only this write
    GROUP = "group"  # all writes of its transaction; later ones may work
    STORE = "store"  # nothing can be trusted until a restart


_GROUP_CODES: Final = frozenset(
    {
        sqlite3.SQLITE_FULL,
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
_CORRUPT_CODES: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


def _primary_code(error: Exception) -> int:
    # An error that Python's module raises itself (a value it cannot bind) carries no code.
    code = getattr(error, "sqlite_errorcode", None)
    return code & _PRIMARY_MASK if isinstance(code, int) else sqlite3.SQLITE_ERROR


def classify(error: Exception) -> Fault:
    """Tell whether an error spoils one write, one group or the store."""
    code = _primary_code(error)
    if code in _STORE_CODES:
        return Fault.STORE
    return Fault.GROUP if code in _GROUP_CODES else Fault.WRITE


def error_of(error: Exception) -> LlorchError:
    """Put an error that reaches beyond one write into words."""
    code = _primary_code(error)
    if code == sqlite3.SQLITE_FULL:
        text = "the disk under the store is full: free space, nothing was written"
        return HostError(Refusal(Code.DISK_LOW, text))
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        text = "another process holds the store's file: close what has opened it"
        return HostError(Refusal(Code.DATA_IN_USE, text))
    if code in _CORRUPT_CODES:
        text = f"the store's file is damaged ({error}): stop the daemon and restore a backup"
        return HostError(Refusal(Code.DATA_CORRUPT, text))
    text = f"the store failed ({error}): check the disk, then restart the daemon"
    return HostError(Refusal(Code.INTERNAL, text))


def refused_write(name: str, error: Exception) -> DataError:
    """Put an error that concerns one write alone into words."""
    return DataError(Refusal(Code.CONFLICT, f"the store refused {name}: {error}"))
