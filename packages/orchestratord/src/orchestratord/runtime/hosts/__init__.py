"""The hosts that the orchestrator reaches by itself: links over SSH, sessions, ways to workers."""
