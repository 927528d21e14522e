"""The two ways to a pool: over HTTP to its daemon, and direct where this host has none running."""
