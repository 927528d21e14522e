"""Brings the file's schema to the newest version, one numbered .sql file per transaction.

The version is SQLite's own user_version; a file from a newer program is refused.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

from orchestrator_core.errors import Code, HostError, Refusal

__all__ = ["Migration", "apply_step", "load_migrations", "missing_steps"]


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema; numbers begin at 1 and have no gap."""

    number: int
    sql: str


def load_migrations() -> tuple[Migration, ...]:
    """Read the packaged steps in order."""
    folder = resources.files("orchestratord.store").joinpath("sql", "migrations")
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    return tuple(Migration(int(f.name.partition("_")[0]), f.read_text("utf-8")) for f in files)


def missing_steps(
    connection: sqlite3.Connection, migrations: Sequence[Migration]
) -> list[Migration]:
    """Compare the file's version with the known steps; raises HostError when it is newer."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    newest = migrations[-1].number
    if version > newest:
        text = (
            f"the data was written by a newer version (schema {version}, this program knows "
            f"{newest}): upgrade the program or restore the backup from before the upgrade"
        )
        raise HostError(Refusal(Code.CONFIG_INVALID, text))
    return [step for step in migrations if step.number > version]


def apply_step(connection: sqlite3.Connection, step: Migration) -> None:
    """Take one step whole or not at all."""
    # One script, because the module would commit by itself between a BEGIN and a script.
    script = f"BEGIN IMMEDIATE;\n{step.sql}\nPRAGMA user_version = {step.number};\nCOMMIT;"
    try:
        connection.executescript(script)
    except sqlite3.Error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
