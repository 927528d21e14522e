"""Replaces all admin keys of a database that no daemon has open, in one transaction."""

import contextlib
import sqlite3
from pathlib import Path
from threading import Lock
from typing import Final

from orchestrator_core.errors import LlorchError
from orchestratord.store import decoding
from orchestratord.store.database import close_database, open_database
from orchestratord.store.faults import disk_full
from orchestratord.store.groups import DiskFullError, GroupCommit, StoreFailedError
from orchestratord.store.queries import load_queries
from orchestratord.store.rows import KeyRow
from orchestratord.store.statements import Statements
from orchestratord.store.writes import PutKey, RevokeKey

__all__ = ["replace_admin_keys"]

_ADMIN: Final = "admin"


def replace_admin_keys(path: Path, new: KeyRow) -> int:
    """Revoke every key that may administer and put a new one; returns how many were revoked."""
    sql = load_queries()
    connection = open_database(path, sql)
    with contextlib.ExitStack() as stack:
        stack.callback(close_database, connection, sql)
        connection.row_factory = sqlite3.Row
        rows = [decoding.key(row) for row in connection.execute(sql["keys"])]
        connection.row_factory = None
        at_ms = new.created_at_ms
        ends = [RevokeKey(key_id=row.id, at_ms=at_ms) for row in rows if _ADMIN in row.scopes]
        lock = Lock()
        groups = GroupCommit(connection, Statements(connection, sql), lock)
        try:
            with lock:
                outcomes = groups.commit([*ends, PutKey(new)])
        except DiskFullError as error:
            raise disk_full() from error
        except StoreFailedError as error:
            raise error.cause from error
    revoked = 0
    for outcome in outcomes:
        if isinstance(outcome, LlorchError):
            raise outcome
        revoked += outcome
    # The last of them is the new key.
    return revoked - 1
