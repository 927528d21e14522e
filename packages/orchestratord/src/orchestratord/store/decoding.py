"""Turns rows of the SQLite file into the records of the port.

A column carries the name of its field; only enums, booleans and lists need a conversion.
"""

import json
import sqlite3
from typing import Any

from orchestrator_core.contracts.tasks import EventKind, JobStatus, Priority, TaskKind
from orchestratord.store.rows import (
    AttemptRow,
    EventRow,
    JobRow,
    JoinTokenRow,
    KeyRow,
    PoolRow,
    StoredJob,
    UsageRow,
    UsageTotal,
    tokens_committed,
)

__all__ = [
    "attempt", "event", "job", "join_token", "key", "pool", "stored_job", "usage", "usage_total",
]  # fmt: skip


def job(row: sqlite3.Row) -> JobRow:
    """A job, with or without its texts."""
    return _job(dict(row))


def attempt(row: sqlite3.Row) -> AttemptRow:
    """An attempt."""
    values: dict[str, Any] = dict(row)
    return AttemptRow(**values)


def event(row: sqlite3.Row) -> EventRow:
    """An event."""
    return EventRow(row["job_id"], row["seq"], EventKind(row["kind"]), row["data"])


def key(row: sqlite3.Row) -> KeyRow:
    """An API key."""
    values: dict[str, Any] = dict(row)
    scopes = tuple(json.loads(values.pop("scopes_json")))
    models_json = values.pop("models_json")
    models = None if models_json is None else tuple(json.loads(models_json))
    values["priority"] = Priority(values["priority"])
    return KeyRow(scopes=scopes, models=models, **values)


def pool(row: sqlite3.Row) -> PoolRow:
    """An enrolled host."""
    values: dict[str, Any] = dict(row)
    host_keys = tuple(json.loads(values.pop("host_keys_json")))
    values["declared"] = bool(values["declared"])
    return PoolRow(host_keys=host_keys, **values)


def join_token(row: sqlite3.Row) -> JoinTokenRow:
    """A one-time token."""
    values: dict[str, Any] = dict(row)
    return JoinTokenRow(**values)


def usage(row: sqlite3.Row) -> UsageRow:
    """The usage of a job."""
    values: dict[str, Any] = dict(row)
    values["task"] = TaskKind(values["task"])
    values["status"] = JobStatus(values["status"])
    values["durable"] = bool(values["durable"])
    workers = tuple(json.loads(values.pop("workers_json")))
    return UsageRow(workers=workers, **values)


def usage_total(row: sqlite3.Row) -> UsageTotal:
    """What a key used of a model."""
    values: dict[str, Any] = dict(row)
    return UsageTotal(**values)


def stored_job(row: sqlite3.Row) -> StoredJob:
    """An unfinished job with what its readers were shown."""
    values: dict[str, Any] = dict(row)
    kind, data = values.pop("progress_kind"), values.pop("progress_data")
    last_seq = values.pop("last_seq")
    tokens = tokens_committed(None if kind is None else EventKind(kind), data)
    return StoredJob(job=_job(values), last_seq=last_seq, tokens_committed=tokens)


def _job(values: dict[str, Any]) -> JobRow:
    values.pop("stripped", None)
    values["task"] = TaskKind(values["task"])
    values["priority"] = Priority(values["priority"])
    values["status"] = JobStatus(values["status"])
    values["cancel_on_disconnect"] = bool(values["cancel_on_disconnect"])
    return JobRow(**values)
