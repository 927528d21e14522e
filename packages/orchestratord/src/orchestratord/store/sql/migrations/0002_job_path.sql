-- Weights, idempotency keys, continued attempts, richer keys, and retention in two stages.

ALTER TABLE jobs ADD COLUMN weight INTEGER NOT NULL DEFAULT 1 CHECK (weight >= 1);
ALTER TABLE jobs ADD COLUMN idempotency_key TEXT;
ALTER TABLE jobs ADD COLUMN idempotency_hash TEXT;
ALTER TABLE jobs ADD COLUMN stripped INTEGER NOT NULL DEFAULT 0 CHECK (stripped IN (0, 1));

-- One key hands a job in once under one name, as long as the job is listed.
CREATE UNIQUE INDEX jobs_idempotency ON jobs (key_id, idempotency_key)
WHERE idempotency_key IS NOT NULL;

-- Retention walks the finished jobs that still have their texts, without a look at the others.
CREATE INDEX jobs_unstripped ON jobs (ended_at_ms) WHERE ended_at_ms IS NOT NULL AND stripped = 0;

ALTER TABLE attempts ADD COLUMN kept_tokens INTEGER NOT NULL DEFAULT 0 CHECK (kept_tokens >= 0);

ALTER TABLE keys ADD COLUMN models_json TEXT;
ALTER TABLE keys ADD COLUMN priority TEXT NOT NULL DEFAULT 'interactive' CHECK (
    priority IN ('interactive', 'batch')
);
ALTER TABLE keys ADD COLUMN weight INTEGER NOT NULL DEFAULT 1 CHECK (weight >= 1);
ALTER TABLE keys ADD COLUMN requests_per_minute INTEGER CHECK (requests_per_minute >= 1);
ALTER TABLE keys ADD COLUMN concurrent_jobs INTEGER CHECK (concurrent_jobs >= 1);
ALTER TABLE keys ADD COLUMN last_used_at_ms INTEGER;

-- The totals per key and model are summed up from this index alone, in its order.
CREATE INDEX usage_totals ON usage (
    key_id, model, ended_at_ms, status, prompt_tokens, completion_tokens
);

DROP VIEW job_summaries;

-- A job as it stands on a page of many: without its long texts.
CREATE VIEW job_summaries AS
SELECT
    jobs.id, jobs.key_id, jobs.model, jobs.task, jobs.priority, jobs.status, jobs.attempt,
    jobs.request_hash, jobs.seed, jobs.session_id, jobs.metadata_json, jobs.spec_json,
    jobs.cancel_on_disconnect, jobs.created_at_ms, jobs.deadline_at_ms,
    jobs.cancel_requested_at_ms, jobs.started_at_ms, jobs.ended_at_ms, jobs.tokens_out,
    jobs.stop_reason, jobs.error_code, jobs.error_message, jobs.usage_json, jobs.timings_json,
    jobs.weight, jobs.idempotency_key, jobs.idempotency_hash,
    NULL AS output, NULL AS request_json,
    attempts.pool_id, attempts.worker_id, attempts.worker_name
FROM jobs
LEFT JOIN attempts ON attempts.job_id = jobs.id AND attempts.attempt = jobs.attempt;
