"""Whether a model fits into memory, from the facts of its header: estimates and verdicts."""
