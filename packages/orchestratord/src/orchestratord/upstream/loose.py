"""Reads values out of JSON that nobody vouches for: a wrong type reads as nothing, never raises."""

from collections.abc import Mapping
from typing import cast

__all__ = ["Json", "as_int", "as_object", "as_objects", "as_text"]

Json = Mapping[str, object]


def as_text(value: object) -> str:
    """A string, else the empty one."""
    return value if isinstance(value, str) else ""


def as_int(value: object, default: int = 0) -> int:
    """A whole number, else the default."""
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def as_object(value: object) -> Json | None:
    """A JSON object, else None."""
    return cast("Json", value) if isinstance(value, dict) else None


def as_objects(value: object) -> list[Json]:
    """The objects of a list; anything else in it is left out."""
    if not isinstance(value, list):
        return []
    return [cast("Json", item) for item in cast("list[object]", value) if isinstance(item, dict)]
