"""How the worker waits, drains and leaves."""
