"""Turns an engine's own refusal into ours, and says whether another worker may do better."""

from typing import Final

import orjson

from orchestrator_core.errors import Code, Refusal
from orchestratord.upstream.chunks import EngineError, read_error
from orchestratord.upstream.loose import as_object, as_text

__all__ = ["refused_by_engine"]

_CODES: Final = {
    400: Code.INVALID_REQUEST,
    404: Code.INVALID_REQUEST,
    501: Code.INVALID_REQUEST,
}


def refused_by_engine(error: EngineError, body: bytes) -> tuple[Refusal, bool]:
    """Map the engine's status and words; only "not now" is worth another try elsewhere."""
    status = error.status
    if body:
        error = _parse(body) or error
    if error.type == "exceed_context_size_error":
        return Refusal(Code.CONTEXT_EXCEEDED, error.message), False
    if status in (429, 503):
        return Refusal(Code.LOADING, error.message or "the worker is not ready"), True
    if status in (401, 403):
        # Our key no longer opens this port: whoever listens there is not our worker.
        return Refusal(Code.WORKER_LOST, "the worker refused our key"), True
    message = error.message or f"the engine answered {status}"
    return Refusal(_CODES.get(status, Code.ENGINE_ERROR), message), False


def _parse(body: bytes) -> EngineError | None:
    try:
        found = as_object(orjson.loads(body))
    except orjson.JSONDecodeError:
        return None
    if not found:
        return None
    if "error" in found:
        return read_error(found["error"])
    # Engines made with other tools put their words here.
    words = as_text(found.get("message")) or as_text(found.get("detail"))
    return read_error(words) if words else None
