"""The host's side of a command that comes over SSH: one run of llorch-pool, on a leash."""
