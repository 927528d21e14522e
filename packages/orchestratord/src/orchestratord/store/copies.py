"""Whole copies of the database: taken while it is written, checked, and put in its place.

Nothing here needs the daemon; whoever puts a copy in place holds the lock of the folder.
"""

import contextlib
import glob
import os
import sqlite3
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator_core.errors import Code, HostError, Refusal
from orchestrator_core.platforms import files
from orchestrator_core.platforms.names import program_of
from orchestratord.store.database import LOG_TAILS, reader_address
from orchestratord.store.faults import error_of
from orchestratord.store.migrate import load_migrations, missing_steps

__all__ = ["CopyFacts", "copy_database", "inspect_copy", "put_in_place"]

_PAGES_PER_STEP: Final = 256
_PATIENCE_S: Final = 5.0
_TABLES: Final = frozenset({"jobs", "requests", "attempts", "events", "usage", "keys", "shutdown"})


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyFacts:
    """What is in a copy."""

    size_bytes: int
    schema: int
    jobs: int
    jobs_unfinished: int


def copy_database(source: Path, target: Path, *, compact: bool = False) -> CopyFacts:
    """Copy the database as it is at this moment into a new file, durably; checks what it wrote.

    The reader's snapshot lets the writer go on; its log grows meanwhile and is folded in later. A
    compact copy is without the space of what was deleted. Raises HostError, and leaves nothing
    behind then.
    """
    draft = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        _remove_leftovers(target)
        os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        try:
            with _named(source, target):
                _copy_compact(source, draft) if compact else _copy_pages(source, draft)
            facts = inspect_copy(draft)
            _sync(draft)
            draft.replace(target)
        finally:
            _remove_draft(draft)
    except OSError as error:
        text = f"cannot write {target}: {error.strerror or error}"
        raise HostError(Refusal(Code.INTERNAL, text)) from error
    files.sync_folder(target.parent)
    return facts


def inspect_copy(path: Path, *, check: str = "quick_check") -> CopyFacts:
    """Check a file from end to end; raises HostError when it is damaged, foreign or too new."""
    if not path.is_file():
        raise HostError(Refusal(Code.NOT_FOUND, f"there is no file {path}"))
    with _named(path, path), _reading(path, at_rest=True) as connection:
        fault = str(connection.execute(f"PRAGMA {check}(1)").fetchone()[0])
        if fault != "ok":
            text = f"{path} is damaged ({' '.join(fault.split())}): choose another backup"
            raise HostError(Refusal(Code.DATA_CORRUPT, text))
        names = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema")}
        if not names >= _TABLES:
            text = f"{path} is not a database of this program: choose another backup"
            raise HostError(Refusal(Code.DATA_CORRUPT, text))
        missing_steps(connection, load_migrations())
        schema = int(connection.execute("PRAGMA user_version").fetchone()[0])
        counted = "SELECT COUNT(*), COALESCE(SUM(ended_at_ms IS NULL), 0) FROM jobs"
        jobs, unfinished = connection.execute(counted).fetchone()
    size_bytes = path.stat().st_size
    return CopyFacts(size_bytes=size_bytes, schema=schema, jobs=jobs, jobs_unfinished=unfinished)


def put_in_place(copy: Path, database: Path, kept_as: Path) -> bool:
    """Make a checked copy the database; True when there was one, which is kept under its name.

    After a crash at any point one of the two is the database. Raises HostError when somebody else
    reads the old one, whose last writes could be lost then.
    """
    log = _beside(database, "-wal")
    existed = database.exists()
    if existed:
        _fold_log(database)
        if log.exists():
            # The file is damaged: what was not folded in stays with it.
            os.link(log, _beside(kept_as, "-wal"))
        os.link(database, kept_as)
    # A log must not lie beside another file than its own: SQLite would play it into that one.
    for leftover in (log, _beside(database, "-shm")):
        leftover.unlink(missing_ok=True)
    copy.replace(database)
    files.sync_folder(database.parent)
    return existed


def _copy_pages(source: Path, draft: Path) -> None:
    with contextlib.closing(sqlite3.connect(draft, isolation_level=None)) as target:
        target.execute("PRAGMA synchronous = OFF")
        with _reading(source) as connection:
            # One snapshot for all steps: without it each commit meanwhile would start it over.
            connection.execute("BEGIN")
            connection.execute("PRAGMA user_version").fetchone()
            connection.backup(target, pages=_PAGES_PER_STEP, sleep=0)
        # One file that needs no other beside it.
        target.execute("PRAGMA journal_mode = DELETE").fetchone()


def _copy_compact(source: Path, draft: Path) -> None:
    with _reading(source, at_rest=True) as connection:
        connection.execute("VACUUM INTO ?", (str(draft),))


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _fold_log(database: Path) -> None:
    # A damaged file keeps its log; both are set aside then.
    with (
        contextlib.suppress(sqlite3.Error),
        contextlib.closing(sqlite3.connect(database, timeout=_PATIENCE_S)) as connection,
    ):
        is_busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        if is_busy:
            text = f"another process reads {database}: wait for its end or stop it, then try again"
            raise HostError(Refusal(Code.DATA_IN_USE, text))


def _remove_leftovers(target: Path) -> None:
    """Delete what copies to the same place have left that were killed."""
    for found in target.parent.glob(f".{glob.escape(target.name)}.*.partial"):
        pid = found.name.split(".")[-2]
        if pid.isdecimal() and (int(pid) == os.getpid() or program_of(int(pid)) is None):
            _remove_draft(found)


def _remove_draft(draft: Path) -> None:
    for path in (draft, *(_beside(draft, tail) for tail in LOG_TAILS)):
        path.unlink(missing_ok=True)


def _beside(database: Path, tail: str) -> Path:
    return database.with_name(f"{database.name}{tail}")


@contextlib.contextmanager
def _reading(path: Path, *, at_rest: bool = False) -> Generator[sqlite3.Connection]:
    address = reader_address(path)
    if at_rest and not any(_beside(path, tail).exists() for tail in ("-wal", "-journal")):
        # Also from a folder where nothing may be written, and nothing is left beside the file.
        address = f"{address}&immutable=1"
    connection = sqlite3.connect(address, uri=True, isolation_level=None, timeout=_PATIENCE_S)
    with contextlib.closing(connection):
        connection.execute("PRAGMA trusted_schema = OFF")
        yield connection


@contextlib.contextmanager
def _named(source: Path, target: Path) -> Generator[None]:
    """Say of which file an error of SQLite tells."""
    try:
        yield
    except sqlite3.Error as error:
        found = error_of(error)
        text = found.refusal.message
        if found.code is Code.DATA_CORRUPT:
            text = f"{source} is damaged or no database ({error}): choose another backup"
        elif found.code is Code.DISK_LOW:
            text = f"the disk under {target.parent} is full: free space, nothing was written"
        raise HostError(Refusal(found.code, text)) from error
