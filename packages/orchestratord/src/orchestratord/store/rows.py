"""What the store keeps and shows: jobs, attempts, events, keys and usage as plain records.

Both adapters build them, the API and the loop read them. Times are UTC milliseconds; a field
that ends in _json is text that the store neither reads nor changes.
"""

import json
from dataclasses import dataclass, field
from typing import Final, Literal, cast

from orchestrator_core.contracts.tasks import EventKind, JobStatus, Priority, TaskKind
from orchestrator_core.ids import JobId, KeyId, PoolId, WorkerId

__all__ = [
    "ACTIVE_STATUSES",
    "TERMINAL_KINDS",
    "AttemptRow",
    "AttemptStatus",
    "EventRow",
    "JobFilter",
    "JobPage",
    "JobRow",
    "JoinTokenRow",
    "KeyRow",
    "NewJob",
    "PoolRow",
    "StoredJob",
    "UsageRow",
    "UsageTotal",
    "tokens_committed",
]

ACTIVE_STATUSES: Final = frozenset({JobStatus.QUEUED, JobStatus.DISPATCHED, JobStatus.RUNNING})
TERMINAL_KINDS: Final = frozenset({EventKind.END, EventKind.ERROR})

AttemptStatus = Literal["running", "ended", "broken", "cancelled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job at its admission; request_json holds the words and the sampling, spec_json the worker."""

    id: JobId
    key_id: KeyId
    model: str
    task: TaskKind
    priority: Priority
    request_json: str
    request_hash: str
    seed: int
    spec_json: str
    created_at_ms: int
    session_id: str | None = None
    metadata_json: str | None = None
    deadline_at_ms: int | None = None
    cancel_on_disconnect: bool = False
    weight: int = 1
    idempotency_key: str | None = None
    idempotency_hash: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow:
    """A job as it stands; pool and worker are those of its last attempt.

    request_json is None once the prompt is deleted. A page of jobs carries neither it nor output.
    """

    id: JobId
    key_id: KeyId
    model: str
    task: TaskKind
    priority: Priority
    status: JobStatus
    attempt: int
    request_json: str | None
    request_hash: str
    seed: int
    session_id: str | None
    metadata_json: str | None
    spec_json: str
    cancel_on_disconnect: bool
    created_at_ms: int
    deadline_at_ms: int | None = None
    cancel_requested_at_ms: int | None = None
    started_at_ms: int | None = None
    ended_at_ms: int | None = None
    pool_id: PoolId | None = None
    worker_id: WorkerId | None = None
    worker_name: str | None = None
    tokens_out: int = 0
    stop_reason: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    usage_json: str | None = None
    timings_json: str | None = None
    output: str | None = None
    weight: int = 1
    idempotency_key: str | None = None
    idempotency_hash: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRow:
    """One execution of a job on one worker, from its dispatch on."""

    job_id: JobId
    attempt: int
    pool_id: PoolId
    worker_id: WorkerId
    worker_name: str | None
    status: AttemptStatus
    started_at_ms: int
    reason: str | None = None
    message: str | None = None
    tokens: int = 0
    kept_tokens: int = 0
    ended_at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class EventRow:
    """One event of a job's stream; data is the JSON text exactly as every reader sees it."""

    job_id: JobId
    seq: int
    kind: EventKind
    data: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageRow:
    """What one finished job or synchronous call used; it outlives the job."""

    job_id: JobId
    key_id: KeyId
    model: str
    task: TaskKind
    status: JobStatus
    created_at_ms: int
    ended_at_ms: int
    prompt_tokens: int = 0
    completion_tokens: int = 0
    attempts: int = 0
    workers: tuple[str, ...] = ()
    durable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRow:
    """An API key by its hash; the key itself is never stored.

    pool_id is the one pool whose session the key opens; None: the key belongs to no single pool.
    """

    id: KeyId
    name: str
    hash: str
    scopes: tuple[str, ...]
    created_at_ms: int
    expires_at_ms: int | None = None
    revoked_at_ms: int | None = None
    models: tuple[str, ...] | None = None
    priority: Priority = Priority.INTERACTIVE
    weight: int = 1
    requests_per_minute: int | None = None
    concurrent_jobs: int | None = None
    last_used_at_ms: int | None = None
    pool_id: PoolId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinTokenRow:
    """A one-time token by its hash: whoever shows it in time joins under this name."""

    pool_id: PoolId
    hash: str
    created_at_ms: int
    expires_at_ms: int
    created_by: KeyId
    used_at_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolRow:
    """A host that was enrolled, and what the orchestrator needs to reach it.

    endpoint is ssh://USER@HOST:PORT for a host that we reach, https://HOST:PORT for one whose relay
    we use, None for one that was only given a token. join_token is what we still have to show to
    the host; credential is what opens it to us; both are None where the host comes to us.
    key_id is the key by which the host comes to us.
    """

    id: PoolId
    created_at_ms: int
    endpoint: str | None = None
    daemon_port: int = 9200
    host_keys: tuple[str, ...] = ()
    certificate: str | None = None
    join_token: str | None = field(repr=False, default=None)
    credential: str | None = field(repr=False, default=None)
    key_id: KeyId | None = None
    declared: bool = False

    @property
    def road(self) -> Literal["ssh", "relay"]:
        """By which road the pool and its workers are reached."""
        return "ssh" if (self.endpoint or "").startswith("ssh://") else "relay"

    @property
    def joined(self) -> bool:
        """True once the pool has got its credential, or we have got the one to it."""
        return self.credential is not None or self.key_id is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageTotal:
    """What one key used of one model, summed up."""

    key_id: KeyId
    model: str
    jobs: int
    completed: int
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredJob:
    """An unfinished job as a restart finds it; tokens_committed is what its readers were shown."""

    job: JobRow
    last_seq: int
    tokens_committed: int

    @property
    def cancel_requested(self) -> bool:
        """True when somebody asked for its end before the restart."""
        return self.job.cancel_requested_at_ms is not None

    @property
    def place(self) -> tuple[bool, int, JobId]:
        """Where it stands among the unfinished: interactive ones first, then by their coming."""
        return (self.job.priority is Priority.BATCH, self.job.created_at_ms, self.job.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """Which jobs a page shows; the cursor is opaque and comes from the page before."""

    status: JobStatus | None = None
    model: str | None = None
    priority: Priority | None = None
    key_id: KeyId | None = None
    cursor: str | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPage:
    """Jobs from the newest to the oldest; next_cursor is None on the last page."""

    items: tuple[JobRow, ...]
    next_cursor: str | None


def tokens_committed(kind: EventKind | None, data: str | None) -> int:
    """Count the valid tokens on disk, given the last token or attempt event of a job."""
    if kind is None or data is None:
        return 0
    fields = cast("dict[str, int]", json.loads(data))
    if kind is EventKind.ATTEMPT:
        return fields["keep_tokens"]
    return fields["i"] + fields["n"]
