"""Frozen pydantic models: the only things that cross a process boundary."""
