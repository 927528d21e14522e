"""The words of the contracts that a help text shows; it must not import them, a test compares."""

from typing import Final

__all__ = ["PRIORITIES", "STATUSES"]

PRIORITIES: Final = ("interactive", "batch")
STATUSES: Final = (
    "queued", "dispatched", "running", "completed", "failed", "cancelled", "expired",
)  # fmt: skip
