-- Times are milliseconds since the epoch in UTC. Texts that end in _json are kept as they came.
-- Checks are chains of OR: for a longer IN list SQLite builds a table anew in every statement,
-- which was a third of the time of an admission.

CREATE TABLE jobs (
    id TEXT NOT NULL PRIMARY KEY,
    key_id TEXT NOT NULL,
    model TEXT NOT NULL,
    task TEXT NOT NULL CHECK (
        task = 'generate' OR task = 'embed' OR task = 'rerank'
    ),
    priority TEXT NOT NULL CHECK (priority IN ('interactive', 'batch')),
    status TEXT NOT NULL CHECK (
        status = 'queued' OR status = 'dispatched' OR status = 'running'
        OR status = 'completed' OR status = 'failed' OR status = 'cancelled'
        OR status = 'expired'
    ),
    attempt INTEGER NOT NULL CHECK (attempt >= 0),
    request_hash TEXT NOT NULL,
    seed INTEGER NOT NULL,
    session_id TEXT,
    metadata_json TEXT,
    spec_json TEXT NOT NULL,
    cancel_on_disconnect INTEGER NOT NULL CHECK (cancel_on_disconnect IN (0, 1)),
    created_at_ms INTEGER NOT NULL,
    deadline_at_ms INTEGER,
    cancel_requested_at_ms INTEGER,
    started_at_ms INTEGER,
    ended_at_ms INTEGER,
    tokens_out INTEGER NOT NULL DEFAULT 0 CHECK (tokens_out >= 0),
    stop_reason TEXT,
    error_code TEXT,
    error_message TEXT,
    usage_json TEXT,
    timings_json TEXT,
    output TEXT,
    CHECK (
        (ended_at_ms IS NULL)
        = (status = 'queued' OR status = 'dispatched' OR status = 'running')
    )
) STRICT, WITHOUT ROWID;

-- An unfinished job is found without a look at the finished ones, which are many more.
CREATE INDEX jobs_active ON jobs (id) WHERE ended_at_ms IS NULL;

-- Retention walks the finished jobs in the order of their end.
CREATE INDEX jobs_ended ON jobs (ended_at_ms, status) WHERE ended_at_ms IS NOT NULL;

-- Apart from jobs, because every change of a row writes the whole row and prompts are long.
CREATE TABLE requests (
    job_id TEXT NOT NULL PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
    request_json TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE attempts (
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    attempt INTEGER NOT NULL CHECK (attempt >= 1),
    pool_id TEXT NOT NULL,
    worker_id TEXT NOT NULL,
    worker_name TEXT,
    status TEXT NOT NULL CHECK (
        status = 'running' OR status = 'ended' OR status = 'broken' OR status = 'cancelled'
    ),
    reason TEXT,
    message TEXT,
    tokens INTEGER NOT NULL DEFAULT 0 CHECK (tokens >= 0),
    started_at_ms INTEGER NOT NULL,
    ended_at_ms INTEGER,
    PRIMARY KEY (job_id, attempt),
    CHECK ((ended_at_ms IS NULL) = (status = 'running'))
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    seq INTEGER NOT NULL CHECK (seq >= 1),
    kind TEXT NOT NULL CHECK (
        kind = 'queued' OR kind = 'started' OR kind = 'attempt' OR kind = 'token'
        OR kind = 'end' OR kind = 'error'
    ),
    data TEXT NOT NULL,
    PRIMARY KEY (job_id, seq)
) STRICT, WITHOUT ROWID;

-- The second guard of the one terminal transition, behind the compare-and-set.
CREATE UNIQUE INDEX events_terminal ON events (job_id) WHERE kind IN ('end', 'error');

-- Usage outlives its job, so nothing refers to jobs here.
CREATE TABLE usage (
    job_id TEXT NOT NULL PRIMARY KEY,
    key_id TEXT NOT NULL,
    model TEXT NOT NULL,
    task TEXT NOT NULL CHECK (
        task = 'generate' OR task = 'embed' OR task = 'rerank'
    ),
    status TEXT NOT NULL CHECK (
        status = 'completed' OR status = 'failed' OR status = 'cancelled'
        OR status = 'expired'
    ),
    durable INTEGER NOT NULL CHECK (durable IN (0, 1)),
    prompt_tokens INTEGER NOT NULL CHECK (prompt_tokens >= 0),
    completion_tokens INTEGER NOT NULL CHECK (completion_tokens >= 0),
    attempts INTEGER NOT NULL CHECK (attempts >= 0),
    workers_json TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    ended_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE keys (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    hash TEXT NOT NULL UNIQUE,
    scopes_json TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER,
    revoked_at_ms INTEGER
) STRICT, WITHOUT ROWID;

-- A job as it stands on a page of many: without its long texts.
CREATE VIEW job_summaries AS
SELECT
    jobs.id, jobs.key_id, jobs.model, jobs.task, jobs.priority, jobs.status, jobs.attempt,
    jobs.request_hash, jobs.seed, jobs.session_id, jobs.metadata_json, jobs.spec_json,
    jobs.cancel_on_disconnect, jobs.created_at_ms, jobs.deadline_at_ms,
    jobs.cancel_requested_at_ms, jobs.started_at_ms, jobs.ended_at_ms, jobs.tokens_out,
    jobs.stop_reason, jobs.error_code, jobs.error_message, jobs.usage_json, jobs.timings_json,
    NULL AS output, NULL AS request_json,
    attempts.pool_id, attempts.worker_id, attempts.worker_name
FROM jobs
LEFT JOIN attempts ON attempts.job_id = jobs.id AND attempts.attempt = jobs.attempt;

-- One row: whether the last owner closed the database in order.
CREATE TABLE shutdown (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    clean INTEGER NOT NULL CHECK (clean IN (0, 1))
) STRICT;

INSERT INTO shutdown (id, clean) VALUES (1, 1);
