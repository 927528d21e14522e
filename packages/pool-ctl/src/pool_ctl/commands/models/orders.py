"""Makes the orders about models from what a person typed; what cannot be one is wrong usage."""

from collections.abc import Mapping
from typing import Final, TypeVar

import click
from pydantic import ValidationError

from orchestrator_core.contracts.base import Order

__all__ = ["read_order"]

K = TypeVar("K", bound=Order)

_SHOWN: Final = 80
_RULES: Final = {
    "model": "is not the name of a model",
    "path": "is not the path of a file",
    "id": "cannot be an id: take small letters, digits, dots and dashes",
}


def read_order(kind: type[K], typed: Mapping[str, object]) -> K:
    """Read an order strictly."""
    try:
        return kind.model_validate(dict(typed))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        field = str(problem["loc"][0]) if problem["loc"] else ""
        shown = repr(str(typed.get(field, ""))[:_SHOWN])
        raise click.BadParameter(f"{shown} {_RULES.get(field, problem['msg'])}") from error
