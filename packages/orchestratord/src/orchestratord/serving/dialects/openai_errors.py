"""How a refusal reads on /v1: OpenAI's error body, its types and its two special codes."""

from typing import Final

import orjson

from orchestrator_core.errors import Code, Refusal

__all__ = ["error_body", "error_frame", "http_status", "retry_after_s"]

_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
# A model that is unknown, forbidden or not on any host is one and the same to an OpenAI client.
_STATUS: Final = {Code.CONTEXT_EXCEEDED: 400, Code.MODEL_NOT_PULLED: 404}
_CODES: Final = {
    Code.CONTEXT_EXCEEDED: "context_length_exceeded",
    Code.MODEL_NOT_PULLED: "model_not_found",
    Code.MODEL_NOT_FOUND: "model_not_found",
    Code.BAD_KEY: "invalid_api_key",
    Code.NO_KEY: "invalid_api_key",
}
_RETRY_AFTER_LIMIT_S: Final = 60


def http_status(refusal: Refusal) -> int:
    """The status on /v1."""
    return _STATUS.get(refusal.code, refusal.outcome.http_status)


def retry_after_s(refusal: Refusal) -> int | None:
    """Seconds for Retry-After; SDKs ignore or obey blindly what is above a minute."""
    if refusal.retry_after_s is None:
        return None
    return min(refusal.retry_after_s, _RETRY_AFTER_LIMIT_S)


def error_body(refusal: Refusal) -> bytes:
    """The JSON body of a refused call."""
    status = http_status(refusal)
    param = refusal.details.get("param")
    return orjson.dumps(
        {
            "error": {
                "message": refusal.message,
                "type": _TYPES.get(status, "server_error" if status >= 500 else _TYPES[400]),
                "code": _CODES.get(refusal.code, refusal.code.value.lower()),
                "param": param if isinstance(param, str) else None,
            }
        }
    )


def error_frame(refusal: Refusal) -> bytes:
    """The same inside a stream that has already begun."""
    return b"data: " + error_body(refusal) + b"\n\n"
