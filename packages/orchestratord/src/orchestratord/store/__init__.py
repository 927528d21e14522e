"""The durable memory of the orchestrator: a port and its two adapters, memory and SQLite."""
