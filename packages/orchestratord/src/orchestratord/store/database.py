"""Opens and closes the SQLite file: mode, pragmas, schema, and the check after a crash.

The writer thread opens and closes here; the reader takes the address of the same file.
"""

import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Literal
from urllib.parse import quote

from orchestrator_core.errors import Code, HostError, Refusal
from orchestratord.store.faults import error_of
from orchestratord.store.migrate import apply_step, load_migrations, missing_steps

__all__ = [
    "LOG_TAILS",
    "READER_PRAGMAS",
    "Synchronous",
    "close_database",
    "open_database",
    "reader_address",
]

Synchronous = Literal["FULL", "NORMAL"]

LOG_TAILS: Final = ("-wal", "-shm", "-journal")
"""What SQLite puts behind the name of a database for the files beside it."""

_FILE_MODE: Final = 0o600
_FOLDER_MODE: Final = 0o700
_BUSY_TIMEOUT_S: Final = 5.0

# fullfsync acts on macOS only, where a plain fsync stops at the drive's cache.
_PRAGMAS: Final = (
    "journal_mode = WAL",
    "foreign_keys = ON",
    "trusted_schema = OFF",
    "secure_delete = FAST",
    "fullfsync = ON",
    "checkpoint_fullfsync = ON",
    "wal_autocheckpoint = 1000",
    "journal_size_limit = 67108864",
    "cache_size = -16384",
)
# What a statement sets aside must not need room where the disk may be full.
READER_PRAGMAS: Final = ("trusted_schema = OFF", "temp_store = MEMORY")


def open_database(
    path: Path,
    sql: Mapping[str, str],
    *,
    synchronous: Synchronous = "FULL",
    on_check: Callable[[int], None] = lambda _: None,
) -> sqlite3.Connection:
    """Open the one writing connection on the calling thread, with a schema that is up to date.

    Raises HostError with one clear line when the file is damaged, newer or cannot be opened.
    """
    try:
        path.parent.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        # The file exists with its mode before SQLite sees it; -wal and -shm inherit the mode.
        path.touch(mode=_FILE_MODE)
        path.chmod(_FILE_MODE)
    except OSError as error:
        raise HostError(Refusal(Code.INTERNAL, f"cannot open the store: {error}")) from error
    try:
        return _connect(path, sql, synchronous, on_check)
    except sqlite3.Error as error:
        problem = error_of(error)
        if problem.code is Code.DATA_CORRUPT:
            raise _damaged(path, str(error)) from error
        raise problem from error


def _connect(
    path: Path,
    sql: Mapping[str, str],
    synchronous: Synchronous,
    on_check: Callable[[int], None],
) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
    try:
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        steps = missing_steps(connection, load_migrations())
        if _was_left_open(connection, sql):
            on_check(path.stat().st_size)
            _check(connection, path)
        for step in steps:
            apply_step(connection, step)
        # Only now: a step may set aside more than fits into memory.
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute(sql["set_shutdown"], (0,))
    except (sqlite3.Error, HostError):
        connection.close()
        raise
    return connection


def _was_left_open(connection: sqlite3.Connection, sql: Mapping[str, str]) -> bool:
    is_new = connection.execute("PRAGMA user_version").fetchone()[0] == 0
    return not is_new and not connection.execute(sql["shutdown_was_clean"]).fetchone()[0]


def _check(connection: sqlite3.Connection, path: Path) -> None:
    first_fault = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    if first_fault != "ok":
        raise _damaged(path, " ".join(first_fault.split()))


def _damaged(path: Path, fault: str) -> HostError:
    way_out = "restore a backup with `orchestratord restore PATH` or move the file away"
    return HostError(Refusal(Code.DATA_CORRUPT, f"{path} is damaged ({fault}): {way_out}"))


def close_database(connection: sqlite3.Connection, sql: Mapping[str, str]) -> None:
    """Leave one complete file behind, marked as closed in order."""
    try:
        connection.execute(sql["set_shutdown"], (1,))
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()


def reader_address(path: Path) -> str:
    """The URI under which a connection can read the file but never write it."""
    return f"file:{quote(str(path.absolute()))}?mode=ro"
