-- Every statement of the store. A header names it; ?1 is the first parameter.

-- name: insert_job
INSERT INTO jobs (
    id, key_id, model, task, priority, status, attempt, request_hash, seed, session_id,
    metadata_json, spec_json, cancel_on_disconnect, created_at_ms, deadline_at_ms, weight,
    idempotency_key, idempotency_hash
) VALUES (
    ?1, ?2, ?3, ?4, ?5, 'queued', 0, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16
);

-- name: insert_request
INSERT INTO requests (job_id, request_json) VALUES (?1, ?2);

-- name: insert_first_event
INSERT INTO events (job_id, seq, kind, data) VALUES (?1, 1, ?2, ?3);

-- An event joins only an unfinished job and only behind the last one: no hole, nothing after the end.
-- name: append_event
INSERT INTO events (job_id, seq, kind, data)
SELECT ?1, ?2, ?3, ?4
WHERE
    ?2 = 1 + (SELECT COALESCE(MAX(seq), 0) FROM events WHERE job_id = ?1)
    AND EXISTS (SELECT 1 FROM jobs WHERE id = ?1 AND ended_at_ms IS NULL);

-- name: mark_dispatched
UPDATE jobs SET status = 'dispatched', attempt = ?2
WHERE id = ?1 AND attempt = ?2 - 1 AND status = 'queued';

-- name: insert_attempt
INSERT INTO attempts (
    job_id, attempt, pool_id, worker_id, worker_name, status, started_at_ms, kept_tokens
) VALUES (?1, ?2, ?3, ?4, ?5, 'running', ?6, ?7);

-- name: mark_running
UPDATE jobs SET status = 'running', started_at_ms = COALESCE(started_at_ms, ?3)
WHERE id = ?1 AND attempt = ?2 AND status = 'dispatched';

-- name: mark_requeued
UPDATE jobs SET status = 'queued'
WHERE id = ?1 AND attempt = ?2 AND status IN ('dispatched', 'running');

-- name: end_attempt
UPDATE attempts SET status = ?3, reason = ?4, message = ?5, tokens = ?6, ended_at_ms = ?7
WHERE job_id = ?1 AND attempt = ?2 AND status = 'running';

-- name: request_cancel
UPDATE jobs SET cancel_requested_at_ms = ?2
WHERE id = ?1 AND ended_at_ms IS NULL AND cancel_requested_at_ms IS NULL;

-- name: finish_job
UPDATE jobs SET
    status = ?3, ended_at_ms = ?4, error_code = ?5, error_message = ?6, stop_reason = ?7,
    tokens_out = ?8, usage_json = ?9, timings_json = ?10, output = ?11
WHERE id = ?1 AND attempt = ?2 AND ended_at_ms IS NULL;

-- name: delete_request
DELETE FROM requests WHERE job_id = ?1;

-- name: insert_usage
INSERT INTO usage (
    job_id, key_id, model, task, status, durable, prompt_tokens, completion_tokens, attempts,
    workers_json, created_at_ms, ended_at_ms
) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12);

-- name: put_key
INSERT INTO keys (
    id, name, hash, scopes_json, created_at_ms, expires_at_ms, revoked_at_ms, models_json, priority,
    weight, requests_per_minute, concurrent_jobs, last_used_at_ms, pool_id
) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
ON CONFLICT (id) DO UPDATE SET
    name = excluded.name, hash = excluded.hash, scopes_json = excluded.scopes_json,
    created_at_ms = excluded.created_at_ms, expires_at_ms = excluded.expires_at_ms,
    revoked_at_ms = excluded.revoked_at_ms, models_json = excluded.models_json,
    priority = excluded.priority, weight = excluded.weight,
    requests_per_minute = excluded.requests_per_minute,
    concurrent_jobs = excluded.concurrent_jobs, last_used_at_ms = excluded.last_used_at_ms,
    pool_id = excluded.pool_id;

-- name: revoke_key
UPDATE keys SET revoked_at_ms = ?2 WHERE id = ?1 AND revoked_at_ms IS NULL;

-- name: note_key_use
UPDATE keys SET last_used_at_ms = ?2 WHERE id = ?1;

-- name: put_pool
INSERT INTO pools (
    id, created_at_ms, endpoint, daemon_port, host_keys_json, certificate, join_token, credential,
    key_id, declared
) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
ON CONFLICT (id) DO UPDATE SET
    created_at_ms = excluded.created_at_ms, endpoint = excluded.endpoint,
    daemon_port = excluded.daemon_port, host_keys_json = excluded.host_keys_json,
    certificate = excluded.certificate, join_token = excluded.join_token,
    credential = excluded.credential, key_id = excluded.key_id, declared = excluded.declared;

-- A pool has the one key that its row names; what it had before ends here.
-- name: end_other_keys
UPDATE keys SET revoked_at_ms = ?3
WHERE pool_id = ?1 AND id IS NOT ?2 AND revoked_at_ms IS NULL;

-- name: drop_pool
DELETE FROM pools WHERE id = ?1;

-- name: drop_join_token
DELETE FROM join_tokens WHERE pool_id = ?1;

-- name: forget_join_tokens
DELETE FROM join_tokens WHERE expires_at_ms <= ?1;

-- name: put_join_token
INSERT INTO join_tokens (
    pool_id, hash, created_at_ms, expires_at_ms, used_at_ms, created_by
) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
ON CONFLICT (pool_id) DO UPDATE SET
    hash = excluded.hash, created_at_ms = excluded.created_at_ms,
    expires_at_ms = excluded.expires_at_ms, used_at_ms = excluded.used_at_ms,
    created_by = excluded.created_by;

-- name: use_join_token
UPDATE join_tokens SET used_at_ms = ?3
WHERE pool_id = ?1 AND hash = ?2 AND used_at_ms IS NULL AND expires_at_ms > ?3;

-- name: jobs_to_strip
SELECT id FROM jobs INDEXED BY jobs_unstripped
WHERE ended_at_ms IS NOT NULL AND stripped = 0 AND ended_at_ms < ?1
ORDER BY ended_at_ms
LIMIT ?2;

-- name: strip_job
UPDATE jobs SET output = NULL, stripped = 1 WHERE id = ?1;

-- name: strip_events
DELETE FROM events WHERE job_id = ?1 AND kind NOT IN ('end', 'error');

-- Ids rise with time, so the oldest usage stands first; no index is needed for this.
-- name: purge_usage
DELETE FROM usage
WHERE ended_at_ms < ?1 AND job_id IN (SELECT job_id FROM usage ORDER BY job_id LIMIT ?2);

-- name: purge
DELETE FROM jobs WHERE id IN (
    SELECT id FROM jobs
    WHERE ended_at_ms IS NOT NULL AND ended_at_ms < ?1
    ORDER BY ended_at_ms
    LIMIT ?2
);

-- name: job
SELECT jobs.*, requests.request_json, attempts.pool_id, attempts.worker_id, attempts.worker_name
FROM jobs
LEFT JOIN requests ON requests.job_id = jobs.id
LEFT JOIN attempts ON attempts.job_id = jobs.id AND attempts.attempt = jobs.attempt
WHERE jobs.id = ?1 AND (?2 IS NULL OR jobs.key_id = ?2);

-- name: job_of
SELECT jobs.*, requests.request_json, attempts.pool_id, attempts.worker_id, attempts.worker_name
FROM jobs
LEFT JOIN requests ON requests.job_id = jobs.id
LEFT JOIN attempts ON attempts.job_id = jobs.id AND attempts.attempt = jobs.attempt
WHERE jobs.key_id = ?1 AND jobs.idempotency_key = ?2;

-- name: attempts
SELECT * FROM attempts WHERE job_id = ?1 ORDER BY attempt;

-- name: events_after
SELECT job_id, seq, kind, data FROM events WHERE job_id = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3;

-- name: last_seq
SELECT COALESCE(MAX(seq), 0) AS seq FROM events WHERE job_id = ?1;

-- name: list_jobs
SELECT * FROM job_summaries
WHERE id IN (
    SELECT id FROM jobs
    WHERE
        (?1 IS NULL OR status = ?1)
        AND (?2 IS NULL OR model = ?2)
        AND (?3 IS NULL OR priority = ?3)
        AND (?4 IS NULL OR key_id = ?4)
        AND (?5 IS NULL OR id < ?5)
    ORDER BY id DESC
    LIMIT ?6
)
ORDER BY id DESC;

-- The same page for an unfinished status: it walks the small index of unfinished jobs.
-- name: list_active_jobs
SELECT * FROM job_summaries
WHERE id IN (
    SELECT id FROM jobs INDEXED BY jobs_active
    WHERE
        ended_at_ms IS NULL
        AND status = ?1
        AND (?2 IS NULL OR model = ?2)
        AND (?3 IS NULL OR priority = ?3)
        AND (?4 IS NULL OR key_id = ?4)
        AND (?5 IS NULL OR id < ?5)
    ORDER BY id DESC
    LIMIT ?6
)
ORDER BY id DESC;

-- The last token or attempt event tells how many tokens of the answer are on disk. Nothing is sorted
-- here: with hundreds of MiB of prompts that takes a temporary file, and the disk may be full.
-- name: restore
SELECT
    jobs.*, requests.request_json, attempts.pool_id, attempts.worker_id, attempts.worker_name,
    (SELECT COALESCE(MAX(seq), 0) FROM events WHERE events.job_id = jobs.id) AS last_seq,
    progress.kind AS progress_kind, progress.data AS progress_data
FROM jobs INDEXED BY jobs_active
LEFT JOIN requests ON requests.job_id = jobs.id
LEFT JOIN attempts ON attempts.job_id = jobs.id AND attempts.attempt = jobs.attempt
LEFT JOIN events AS progress ON progress.job_id = jobs.id AND progress.seq = (
    SELECT MAX(seq) FROM events WHERE job_id = jobs.id AND kind IN ('token', 'attempt')
)
WHERE jobs.ended_at_ms IS NULL;

-- name: keys
SELECT * FROM keys ORDER BY id;

-- name: pools
SELECT * FROM pools ORDER BY id;

-- name: join_tokens
SELECT * FROM join_tokens ORDER BY pool_id;

-- name: usage
SELECT * FROM usage WHERE job_id = ?1;

-- name: usage_totals
SELECT
    key_id, model, COUNT(*) AS jobs, SUM(status = 'completed') AS completed,
    SUM(prompt_tokens) AS prompt_tokens, SUM(completion_tokens) AS completion_tokens
FROM usage
WHERE ?1 IS NULL OR ended_at_ms >= ?1
GROUP BY key_id, model
ORDER BY SUM(prompt_tokens) + SUM(completion_tokens) DESC, key_id, model;

-- The same for one key, which walks its own part of the index only.
-- name: usage_totals_of
SELECT
    key_id, model, COUNT(*) AS jobs, SUM(status = 'completed') AS completed,
    SUM(prompt_tokens) AS prompt_tokens, SUM(completion_tokens) AS completion_tokens
FROM usage
WHERE (?1 IS NULL OR ended_at_ms >= ?1) AND key_id = ?2
GROUP BY key_id, model
ORDER BY SUM(prompt_tokens) + SUM(completion_tokens) DESC, key_id, model;

-- name: counts
SELECT status, COUNT(*) AS jobs FROM jobs INDEXED BY jobs_active
WHERE ended_at_ms IS NULL GROUP BY status
UNION ALL
SELECT status, COUNT(*) AS jobs FROM jobs INDEXED BY jobs_ended
WHERE ended_at_ms IS NOT NULL GROUP BY status;

-- name: shutdown_was_clean
SELECT clean FROM shutdown WHERE id = 1;

-- name: set_shutdown
UPDATE shutdown SET clean = ?1 WHERE id = 1;
