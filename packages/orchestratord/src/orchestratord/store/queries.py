"""Loads the statements of sql/queries.sql by the names in their headers."""

import functools
from collections.abc import Mapping
from importlib import resources
from types import MappingProxyType
from typing import Final

__all__ = ["QUERIES_FILE", "load_queries", "parse_queries"]

QUERIES_FILE: Final = "queries.sql"
_HEADER: Final = "-- name:"


def parse_queries(text: str) -> dict[str, str]:
    """Split a file into its named statements; comments and line breaks are dropped."""
    parts: dict[str, list[str]] = {}
    current: list[str] = []
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith(_HEADER):
            current = parts.setdefault(stripped.removeprefix(_HEADER).strip(), [])
        elif stripped and not stripped.startswith("--"):
            current.append(stripped)
    return {name: " ".join(lines).rstrip(";") for name, lines in parts.items()}


@functools.cache
def load_queries() -> Mapping[str, str]:
    """Read the packaged statements, once."""
    text = resources.files("orchestratord.store").joinpath("sql", QUERIES_FILE).read_text("utf-8")
    return MappingProxyType(parse_queries(text))
