"""What the daemon keeps doing while it runs: devices, the word to the orchestrator, counters."""
