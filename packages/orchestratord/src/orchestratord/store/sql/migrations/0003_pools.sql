-- Hosts that were enrolled, the one-time tokens of those that may join, and keys that belong to one.

CREATE TABLE pools (
    id TEXT NOT NULL PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 64),
    created_at_ms INTEGER NOT NULL,
    endpoint TEXT CHECK (length(endpoint) BETWEEN 1 AND 300),
    daemon_port INTEGER NOT NULL CHECK (daemon_port BETWEEN 1 AND 65535),
    host_keys_json TEXT NOT NULL,
    certificate TEXT,
    join_token TEXT,
    credential TEXT,
    key_id TEXT,
    declared INTEGER NOT NULL CHECK (declared IN (0, 1))
) STRICT, WITHOUT ROWID;

-- One token per name: a newer one takes the place of the older.
CREATE TABLE join_tokens (
    pool_id TEXT NOT NULL PRIMARY KEY CHECK (length(pool_id) BETWEEN 1 AND 64),
    hash TEXT NOT NULL UNIQUE,
    created_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL,
    used_at_ms INTEGER,
    created_by TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- A key with a pool opens nothing but the session of that pool.
ALTER TABLE keys ADD COLUMN pool_id TEXT;

CREATE INDEX keys_of_pool ON keys (pool_id) WHERE pool_id IS NOT NULL;
