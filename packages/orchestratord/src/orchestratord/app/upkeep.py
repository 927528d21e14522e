"""What an operator does to the data without the daemon: back it up, restore it, reset the admin key.

Each act says what it did as one record; a refusal is raised as the error that main prints.
"""

import contextlib
import time
from collections.abc import Generator
from pathlib import Path
from typing import Final

from orchestrator_core.clock import SystemClock
from orchestrator_core.config.layout import ORCHESTRATORD, Layout
from orchestrator_core.daemon.program import acquire
from orchestrator_core.errors import Code, LlorchError, Refusal, error_for
from orchestrator_core.idgen import IdSource
from orchestrator_core.platforms import files
from orchestratord.runtime.keys.keyring import fresh_key, key_hash, write_key_file
from orchestratord.store.admin_keys import replace_admin_keys
from orchestratord.store.ballast import BALLAST_NAME
from orchestratord.store.copies import copy_database, inspect_copy, put_in_place
from orchestratord.store.database import LOG_TAILS
from orchestratord.store.rows import KeyRow

__all__ = ["back_up", "reset_admin", "restore"]

_ADMIN: Final = "admin"


def back_up(layout: Layout, target: Path, *, force: bool) -> dict[str, object]:
    """Write a checked copy of the database, whether the daemon runs or not."""
    _expect_database(layout)
    target = target.absolute()
    if _is_in_use(layout, target):
        raise error_for(Refusal(Code.CONFLICT, f"{target} is the database itself: name another"))
    if target.exists() and not force:
        text = f"{target} exists: name another file, or replace it with --force"
        raise error_for(Refusal(Code.CONFLICT, text))
    facts = copy_database(layout.database, target)
    return {
        "path": str(target),
        "size_bytes": facts.size_bytes,
        "schema": facts.schema,
        "jobs": facts.jobs,
        "jobs_unfinished": facts.jobs_unfinished,
    }


def restore(layout: Layout, source: Path) -> dict[str, object]:
    """Make a backup the database and keep the one that it replaces; the daemon must be stopped."""
    database, source = layout.database, source.absolute()
    # Before the lock: a wrong name shall touch nothing.
    inspect_copy(source, check="integrity_check")
    with _locked(layout):
        draft = database.with_name(f"{database.name}.restored")
        try:
            facts = copy_database(source, draft, compact=True)
            stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
            kept_as = _free_name(database.with_name(f"{database.name}.replaced-{stamp}"))
            replaced = put_in_place(draft, database, kept_as)
        finally:
            draft.unlink(missing_ok=True)
    return {
        "database": str(database),
        "schema": facts.schema,
        "jobs": facts.jobs,
        "jobs_unfinished": facts.jobs_unfinished,
        "replaced": str(kept_as) if replaced else None,
    }


def reset_admin(layout: Layout) -> dict[str, object]:
    """Revoke every admin key, make a new one and write its file; the daemon must be stopped."""
    _expect_database(layout)
    clock = SystemClock()
    token = fresh_key(_ADMIN)
    row = KeyRow(
        id=IdSource(clock).key(),
        name=_ADMIN,
        hash=key_hash(token),
        scopes=(_ADMIN,),
        created_at_ms=clock.unix_ms(),
    )
    with _locked(layout):
        revoked = replace_admin_keys(layout.database, row)
        write_key_file(layout.admin_key, token)
    return {"key_id": row.id, "key_file": str(layout.admin_key), "revoked": revoked}


def _expect_database(layout: Layout) -> None:
    if not layout.database.is_file():
        text = f"there is no database {layout.database}: start the orchestrator once"
        raise error_for(Refusal(Code.NOT_FOUND, text))


def _is_in_use(layout: Layout, target: Path) -> bool:
    """True for the database under any name, and for what the daemon has beside it."""
    if target.exists() and target.samefile(layout.database):
        return True
    database = layout.database
    logs = [database.with_name(f"{database.name}{tail}") for tail in LOG_TAILS]
    own = (*logs, database.with_name(BALLAST_NAME), layout.orchestrator_lock)
    return target.parent.resolve() / target.name in {path.resolve() for path in own}


def _free_name(path: Path) -> Path:
    number, name = 1, path
    while name.exists():
        number += 1
        name = path.with_name(f"{path.name}.{number}")
    return name


@contextlib.contextmanager
def _locked(layout: Layout) -> Generator[None]:
    folder = layout.orchestrator_lock.parent
    files.ensure_folder(folder)
    files.ensure_folder(layout.state)
    lock = files.FileLock(layout.orchestrator_lock)
    if not acquire(lock, ORCHESTRATORD):
        raise _taken(folder, lock.holder_pid())
    try:
        yield
    finally:
        lock.release()


def _taken(folder: Path, pid: int | None) -> LlorchError:
    holder = f"process {pid}" if pid else "another process"
    text = f"{holder} uses {folder}: stop it first with `llorch orchestrator stop`"
    return error_for(Refusal(Code.DATA_IN_USE, text, {"pid": pid}))
