"""The control plane daemon: durable queue, decisions, streams."""
