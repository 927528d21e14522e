"""Reads values out of JSON that nobody vouches for: a wrong type reads as nothing, never raises."""

from collections.abc import Mapping
from typing import Final, cast

__all__ = ["Json", "as_amount", "as_count", "as_int", "as_object", "as_objects", "as_text"]

Json = Mapping[str, object]

# What every JSON reader and every database still holds exactly.
_NUMBER_MAX: Final = 2**53


def as_text(value: object) -> str:
    """A string, else the empty one."""
    return value if isinstance(value, str) else ""


def as_int(value: object, default: int = 0) -> int:
    """A whole number, else the default."""
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def as_count(value: object) -> int:
    """A whole number from 0 on that is worth believing, else 0."""
    count = as_int(value)
    return count if 0 <= count <= _NUMBER_MAX else 0


def as_amount(value: object) -> float:
    """A number from 0 on that is worth believing, else 0."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return 0.0
    return float(value) if 0 <= value <= _NUMBER_MAX else 0.0


def as_object(value: object) -> Json | None:
    """A JSON object, else None."""
    return cast("Json", value) if isinstance(value, dict) else None


def as_objects(value: object) -> list[Json]:
    """The objects of a list; anything else in it is left out."""
    if not isinstance(value, list):
        return []
    return [cast("Json", item) for item in cast("list[object]", value) if isinstance(item, dict)]
