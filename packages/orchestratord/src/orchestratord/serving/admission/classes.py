"""The class of a job: the key's is the highest, the request may only lower it. Pure."""

from typing import Final

from orchestrator_core.contracts.tasks import Priority
from orchestrator_core.errors import Code, Refusal

__all__ = ["class_of", "read_class"]

_HEADER: Final = "X-Llorch-Priority"


def read_class(value: str | None) -> Priority | Refusal | None:
    """What the header asks for; without one it asks for nothing."""
    if value is None:
        return None
    if value.strip().lower() == Priority.BATCH:
        return Priority.BATCH
    message = f"{_HEADER} may only be batch: a key's class can be lowered, not raised"
    return Refusal(Code.INVALID_REQUEST, message, {"param": _HEADER})


def class_of(*asked: Priority | None) -> Priority:
    """The lowest of what the key has and what the request asks for."""
    return Priority.BATCH if Priority.BATCH in asked else Priority.INTERACTIVE
