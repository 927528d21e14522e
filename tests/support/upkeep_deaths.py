"""Commands of an operator that are killed at every call that changes the disk; then one looks.

Run as a module: python -m support.upkeep_deaths ACT FOLDER. Each line of the output is one death:
its number, how the child ended, and what was wrong afterwards, or None.
"""

import contextlib
import io
import os
import shutil
import sqlite3
import sys
from dataclasses import dataclass
from pathlib import Path

from orchestrator_core.config.layout import Layout
from orchestratord import main as program
from orchestratord.runtime.keys.keyring import key_hash
from orchestratord.store.database import close_database, open_database
from orchestratord.store.queries import load_queries
from orchestratord.store.statements import Statements
from support.deaths import die_at, in_a_child
from support.stored_jobs import admission, job_id

__all__ = ["ACTS", "main"]

_SQL = load_queries()
_NEW, _OLD = {job_id(1)}, {job_id(1), job_id(2)}
_DEATHS_MAX = 200


@dataclass(frozen=True)
class Bench:
    """One installation with two jobs, the last one in its log, and a backup with one."""

    layout: Layout
    backup: Path

    @classmethod
    def furnish(cls, folder: Path) -> "Bench":
        """Make everything anew."""
        bench = cls(Layout.from_env({"LLORCH_HOME": str(folder / "home")}), folder / "backup.db")
        database = bench.layout.database
        database.parent.mkdir(parents=True)
        bench.layout.state.mkdir(parents=True)
        _write(database, 1)
        shutil.copy(database, bench.backup)
        # As a crash leaves it: the last writes are in the log only.
        in_a_child(lambda: _die_with(database))
        return bench

    def run(self, *argv: str) -> int:
        """Carry a command out without a word."""
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            return program.run(argv, {"LLORCH_HOME": str(self.layout.database.parents[2])})


def _write(database: Path, number: int) -> None:
    connection = open_database(database, _SQL)
    Statements(connection, _SQL).perform(admission(number))
    close_database(connection, _SQL)


def _die_with(database: Path) -> int:
    connection = open_database(database, _SQL)
    Statements(connection, _SQL).perform(admission(2))
    os._exit(0)


def _ids(path: Path) -> set[str]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        return {row[0] for row in connection.execute("SELECT id FROM jobs")}


def _admin_works(bench: Bench) -> bool:
    """True when the key in the file is a valid one."""
    token = bench.layout.admin_key.read_text().strip()
    with contextlib.closing(sqlite3.connect(bench.layout.database)) as connection:
        sql = "SELECT COUNT(*) FROM keys WHERE hash = ? AND revoked_at_ms IS NULL"
        return connection.execute(sql, (key_hash(token),)).fetchone()[0] == 1


def _fault(bench: Bench, act: str, *, done: bool) -> str | None:
    """A database that is neither the old one nor the new one, or a half backup."""
    held = _ids(bench.layout.database)
    wanted = [_NEW] if act == "restore" and done else [_OLD, _NEW] if act == "restore" else [_OLD]
    if held not in wanted:
        return f"the database holds {held}"
    if act == "backup" and _ids(bench.backup) not in ([_OLD] if done else [_OLD, _NEW]):
        return "the backup is neither the old one nor the new one"
    if act == "reset-admin" and done and not _admin_works(bench):
        return "the admin key opens nothing"
    if act == "restore" and done:
        kept = [p for p in _beside(bench) if ".replaced-" in p.name and "-wal" not in p.name]
        if not any(_ids(path) == _OLD for path in kept):
            return "the replaced database is lost"
    return None


def _beside(bench: Bench) -> list[Path]:
    folders = (bench.layout.database.parent, bench.backup.parent, bench.layout.state)
    return [path for folder in folders for path in folder.iterdir() if path.is_file()]


def _leftover(bench: Bench) -> str | None:
    """What nobody takes away again."""
    layout = bench.layout
    known = {layout.database, bench.backup, layout.admin_key, layout.orchestrator_lock}
    known |= {
        layout.database.with_name(f"{layout.database.name}{tail}") for tail in ("-wal", "-shm")
    }
    # Atomic writes leave a draft of a few bytes behind: each has a name of its own.
    free = (".replaced-", ".admin.key.")
    left = {path for path in _beside(bench) if not any(part in path.name for part in free)} - known
    return ", ".join(sorted(map(str, left))) or None


ACTS = {
    "backup": ("backup", "--force"),
    "restore": ("restore",),
    "reset-admin": ("reset-admin",),
}


def main(argv: list[str]) -> int:
    """Die at the first call, the second, and so on, until there is none any more."""
    act, folder = argv
    for call in range(1, _DEATHS_MAX):
        bench = Bench.furnish(Path(folder) / str(call))
        words = (*ACTS[act], *([] if act == "reset-admin" else [str(bench.backup)]))

        def doomed(bench: Bench = bench, call: int = call, words: tuple[str, ...] = words) -> int:
            die_at(call)
            return bench.run(*words)

        code = in_a_child(doomed)
        fault = _fault(bench, act, done=code == 0)
        if code < 0:
            again = bench.run(*words)
            fault = fault or (f"again: {again}" if again else None)
            fault = fault or _fault(bench, act, done=True)
        print(call, code, fault or _leftover(bench), flush=True)
        if code >= 0:
            return code
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
