"""Checks what the flags of a command say against the model of the call, before any call is made."""

from collections.abc import Mapping
from typing import TypeVar

import click
from pydantic import BaseModel, ValidationError

__all__ = ["checked"]

M = TypeVar("M", bound=BaseModel)


def checked(
    model: type[M], fields: Mapping[str, object], flags: Mapping[str, str], *, first: str
) -> M:
    """Build the model; a wrong value is a usage error that names the flag.

    `flags` names the flags that are not spelled like their field, `first` stands for the whole.
    """
    given = {name: value for name, value in fields.items() if value is not None}
    try:
        return model.model_validate(given)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        place = [str(part) for part in problem["loc"]]
        flag = flags.get(place[0], f"--{place[0].replace('_', '-')}") if place else first
        inside = f"{'.'.join(place[1:])}: " if place[1:] else ""
        reason = problem["msg"].removeprefix("Value error, ")
        raise click.BadParameter(inside + reason, param_hint=flag) from None
