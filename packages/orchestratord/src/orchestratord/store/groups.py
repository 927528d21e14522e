"""Carries a group of writes out in one transaction; one bad write cannot spoil the others.

The writer thread hands groups in and gets one outcome per write back, in the same order.
"""

import sqlite3
from collections.abc import Sequence
from threading import Lock

from orchestrator_core.errors import LlorchError
from orchestratord.store.faults import Fault, classify, error_of, refused_write
from orchestratord.store.port import Outcome, StaleWriteError
from orchestratord.store.statements import Statements
from orchestratord.store.writes import Write

__all__ = ["DiskFullError", "GroupCommit", "StoreFailedError"]

# Besides SQLite's own errors: a lone surrogate (ValueError) or a number beyond 64 bits.
_WRITE_ERRORS = (sqlite3.Error, ValueError, OverflowError)


class DiskFullError(Exception):
    """There was no room for the group; nothing of it was written."""


class StoreFailedError(Exception):
    """The file can no longer be trusted; the cause says why."""

    def __init__(self, cause: LlorchError) -> None:
        super().__init__(str(cause))
        self.cause = cause


class GroupCommit:
    """Group commits on one connection."""

    def __init__(self, connection: sqlite3.Connection, statements: Statements, turn: Lock) -> None:
        self._connection = connection
        self._turn = turn
        self._execute = connection.cursor().execute
        self._perform = statements.perform

    def commit(self, writes: Sequence[Write]) -> Sequence[Outcome]:
        """Apply all in order under one COMMIT.

        Raises StoreFailedError when the file is lost and DiskFullError when there is no room.
        The caller holds the turn; it is let go while the disk works.

        The first try goes without savepoints, which cost a fifth of the time of a small write.
        When any write fails, the group is rolled back and done again with one around each.
        """
        try:
            return self._attempt(writes)
        except (*_WRITE_ERRORS, StaleWriteError) as error:
            self._roll_back()
            if not isinstance(error, StaleWriteError) and classify(error) is not Fault.WRITE:
                return self._spoilt(writes, error)
        try:
            return self._attempt_each(writes)
        except sqlite3.Error as error:
            self._roll_back()
            return self._spoilt(writes, error)

    def fold(self) -> None:
        """Move the log of writes into the file as far as there is room, so that it can be reused."""
        try:
            self._execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.Error as error:
            if classify(error) is Fault.STORE:
                raise StoreFailedError(error_of(error)) from error

    def _attempt(self, writes: Sequence[Write]) -> Sequence[Outcome]:
        self._execute("BEGIN IMMEDIATE")
        outcomes = list(map(self._perform, writes))
        self._commit()
        return outcomes

    def _attempt_each(self, writes: Sequence[Write]) -> Sequence[Outcome]:
        self._execute("BEGIN IMMEDIATE")
        outcomes = [self._attempt_one(write) for write in writes]
        self._commit()
        return outcomes

    def _commit(self) -> None:
        # The disk works now and not this thread: nobody needs to make way for it meanwhile.
        self._turn.release()
        try:
            self._execute("COMMIT")
        finally:
            self._turn.acquire()

    def _attempt_one(self, write: Write) -> Outcome:
        self._execute("SAVEPOINT write_one")
        try:
            outcome: Outcome = self._perform(write)
        except StaleWriteError as stale:
            outcome = stale
        except _WRITE_ERRORS as error:
            if classify(error) is not Fault.WRITE:
                raise
            outcome = refused_write(type(write).__name__, error)
        if isinstance(outcome, LlorchError):
            self._execute("ROLLBACK TO write_one")
        self._execute("RELEASE write_one")
        return outcome

    def _roll_back(self) -> None:
        # A full disk or an I/O error may have ended the transaction already.
        if not self._connection.in_transaction:
            return
        try:
            self._execute("ROLLBACK")
        except sqlite3.Error as error:
            raise StoreFailedError(error_of(error)) from error

    def _spoilt(self, writes: Sequence[Write], error: Exception) -> Sequence[Outcome]:
        fault = classify(error)
        if fault is Fault.STORE:
            raise StoreFailedError(error_of(error)) from error
        if fault is Fault.FULL:
            raise DiskFullError from error
        return [error_of(error) for _ in writes]
