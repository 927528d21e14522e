"""Gives workers the short names that people type: pure."""

from collections.abc import Collection
from itertools import count

from orchestrator_core.contracts.pool import Backend

__all__ = ["choose_name"]


def choose_name(backend: Backend, index: int, taken: Collection[str]) -> str:
    """The first free of worker-cpu-0, worker-cpu-0-2, worker-cpu-0-3 ..."""
    base = f"worker-{backend.value}-{index}"
    if base not in taken:
        return base
    return next(name for name in (f"{base}-{n}" for n in count(2)) if name not in taken)
