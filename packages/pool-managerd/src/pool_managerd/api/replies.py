"""Makes the answers: contract models as JSON, refusals in the one error envelope."""

from collections.abc import Mapping, Sequence
from typing import Final, cast

from pydantic import BaseModel
from starlette.responses import Response

from orchestrator_core.contracts.control import ErrorBody, ErrorEnvelope
from orchestrator_core.errors import Code, Refusal
from pool_managerd.api import correlation

__all__ = ["envelope", "explain_validation", "refused", "reply"]

_JSON: Final = "application/json"


def reply(model: BaseModel, status: int = 200) -> Response:
    """Answer with a contract model."""
    return Response(model.model_dump_json(), status, media_type=_JSON)


def refused(refusal: Refusal, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with a refusal: status from the table, one readable line, the correlation id."""
    extra = dict(headers or {})
    if refusal.outcome.retry_later:
        extra["retry-after"] = str(refusal.retry_after_s or 1)
    text = envelope(refusal).model_dump_json()
    return Response(text, refusal.outcome.http_status, extra, media_type=_JSON)


def envelope(refusal: Refusal) -> ErrorEnvelope:
    """A refusal as every caller reads it."""
    return ErrorEnvelope(
        error=ErrorBody(
            code=refusal.code,
            message=refusal.message,
            details=dict(refusal.details) or None,
            correlation_id=correlation.current(),
        )
    )


def explain_validation(problems: Sequence[Mapping[str, object]]) -> Refusal:
    """Say in one line what is wrong with a request, naming the first bad field."""
    first = problems[0]
    field = _field_of(first)
    text = _say(first, field)
    if len(problems) > 1:
        text += f" (and {len(problems) - 1} more)"
    return Refusal(Code.INVALID_REQUEST, text, {"field": field} if field else {})


def _field_of(problem: Mapping[str, object]) -> str:
    if problem.get("type") == "json_invalid":
        # Its place is a character of the text.
        return ""
    # The first part of a place says "body" or "path", which a caller knows.
    place = cast("Sequence[object]", problem.get("loc", ()))
    return ".".join(str(part) for part in place[1:])


def _say(problem: Mapping[str, object], field: str) -> str:
    kind = problem.get("type")
    if kind == "json_invalid":
        return "the body is not valid JSON"
    if not field:
        return "the body must be a JSON object, sent as application/json"
    if kind == "missing":
        return f'field "{field}" is missing'
    if kind == "extra_forbidden":
        return f'unknown field "{field}"'
    message = str(problem.get("msg", "is not valid"))
    return f'field "{field}": {message[:1].lower()}{message[1:]}'
