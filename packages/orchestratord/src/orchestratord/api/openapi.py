"""Writes the OpenAPI document from the route table; pure."""

from collections.abc import Iterable, Mapping
from typing import Final, cast

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from orchestrator_core.contracts.control import ErrorEnvelope
from orchestratord.routes import Route, Scope

__all__ = ["openapi_document"]

_PREFIX: Final = "#/components/schemas/"

_CLASS: Final = ("X-Llorch-Priority", "header", "batch lowers the class of the key")
# What a caller may send besides the path and the body, by handler: name, place, meaning.
_FIELDS: Final[Mapping[str, tuple[tuple[str, str, str], ...]]] = {
    "openai.chat": (_CLASS,),
    "tasks.submit": (
        _CLASS,
        (
            "Idempotency-Key",
            "header",
            "1 to 255 visible ASCII letters; sent again with the same body it gives the same job, "
            "and the answer has the header Idempotent-Replayed",
        ),
    ),
    "tasks.events": (
        ("Last-Event-ID", "header", "the last event that the client has; wins over after"),
        ("after", "query", "the last event that the client has"),
    ),
    "tasks.list": (
        ("status", "query", "only jobs in this state"),
        ("model", "query", "only jobs of this model"),
        ("priority", "query", "only jobs of this class"),
        ("cursor", "query", "next of the page before"),
        ("limit", "query", "jobs of a page, 1 to 500"),
    ),
    "usage.list": (
        ("since", "query", "a moment of RFC 3339, or hours or days back: 24h, 7d"),
        ("key", "query", "only the usage of this key"),
    ),
}


def openapi_document(routes: Iterable[Route], version: str) -> dict[str, object]:
    """Describe every route, hot and plain alike."""
    rows = tuple(routes)
    models = {ErrorEnvelope, *(model for row in rows for model in _models(row))}
    ordered = sorted(models, key=lambda model: model.__name__)
    _, schemas = models_json_schema(
        [(model, "validation") for model in ordered], ref_template=_PREFIX + "{model}"
    )
    paths: dict[str, dict[str, object]] = {}
    for row in rows:
        paths.setdefault(row.path, {})[row.method.lower()] = _operation(row)
    return {
        "openapi": "3.1.0",
        "info": {"title": "llama-orch", "version": version},
        "paths": paths,
        "components": {
            "schemas": cast("dict[str, object]", schemas).get("$defs", {}),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _models(row: Route) -> list[type[BaseModel]]:
    return [model for model in (row.request, row.response) if model is not None]


def _operation(row: Route) -> dict[str, object]:
    names = [part[1:-1] for part in row.path.split("/") if part.startswith("{")]
    refused = {"description": "Refused", "content": _content(ErrorEnvelope)}
    accepted: dict[str, object] = {"description": row.summary}
    if row.response is not None:
        accepted["content"] = _content(row.response)
    operation: dict[str, object] = {
        "operationId": row.handler,
        "summary": row.summary,
        "parameters": [
            *(_parameter(name, "path", required=True) for name in names),
            *(
                {**_parameter(name, place, required=False), "description": meaning}
                for name, place, meaning in _FIELDS.get(row.handler, ())
            ),
        ],
        "responses": {str(row.status): accepted, "4XX": refused, "5XX": refused},
        "security": [] if row.scope is Scope.OPEN else [{"key": []}],
        "x-scope": row.scope.value,
    }
    if row.request is not None:
        operation["requestBody"] = {"required": True, "content": _content(row.request)}
    return operation


def _parameter(name: str, place: str, *, required: bool) -> dict[str, object]:
    return {"name": name, "in": place, "required": required, "schema": {"type": "string"}}


def _content(model: type[BaseModel]) -> dict[str, object]:
    return {"application/json": {"schema": {"$ref": _PREFIX + model.__name__}}}
