"""The document of the API is made from the table, and changes of it are seen."""

import json
from pathlib import Path
from typing import Any

from orchestratord.api.openapi import openapi_document
from orchestratord.routes import ROUTES
from support.checkout import ROOT
from support.golden import Golden

GOLDEN: Path = ROOT / "tests" / "golden" / "openapi.json"


def test_the_document_is_the_one_in_git(golden: Golden) -> None:
    document = openapi_document(ROUTES, "0.1.0")
    golden(GOLDEN, json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def test_every_row_stands_in_it_with_its_scope_and_its_security() -> None:
    paths: dict[str, Any] = openapi_document(ROUTES, "0.1.0")["paths"]  # type: ignore[assignment]
    for row in ROUTES:
        operation = paths[row.path][row.method.lower()]
        assert operation["operationId"] == row.handler
        assert operation["x-scope"] == row.scope
        assert operation["security"] == ([] if row.scope == "open" else [{"key": []}])
        assert str(row.status) in operation["responses"]
        assert ("requestBody" in operation) is (row.request is not None)
    assert sum(len(methods) for methods in paths.values()) == len(ROUTES)


def test_every_reference_leads_somewhere() -> None:
    document = json.loads(json.dumps(openapi_document(ROUTES, "0.1.0")))
    schemas = document["components"]["schemas"]

    def references(node: object) -> list[str]:
        if isinstance(node, dict):
            own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
            return own + [found for value in node.values() for found in references(value)]
        if isinstance(node, list):
            return [found for value in node for found in references(value)]
        return []

    names = {text.removeprefix("#/components/schemas/") for text in references(document)}
    assert names <= set(schemas)


def test_what_a_caller_may_send_besides_a_body_is_named() -> None:
    paths: dict[str, Any] = openapi_document(ROUTES, "0.1.0")["paths"]  # type: ignore[assignment]

    def sent(path: str, method: str) -> set[tuple[str, str, bool]]:
        found = paths[path][method]["parameters"]
        return {(it["name"], it["in"], it["required"]) for it in found}

    assert sent("/v2/tasks", "post") == {
        ("Idempotency-Key", "header", False),
        ("X-Llorch-Priority", "header", False),
    }
    assert sent("/v2/tasks/{id}/events", "get") == {
        ("id", "path", True),
        ("Last-Event-ID", "header", False),
        ("after", "query", False),
    }
    assert sent("/livez", "get") == set()
