"""Lengths of time as people write them: 90s, 15min, 24h, 30d."""

import re
from typing import Final

import click

__all__ = ["Duration"]

_LENGTH: Final = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s*([A-Za-z]+)", re.ASCII)
_SECONDS: Final = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


class Duration(click.ParamType[float]):
    """A length of time with its unit, in seconds."""

    name = "duration"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read a number above 0 and s, min, h, d or w."""
        match = _LENGTH.fullmatch(str(value).strip())
        unit_s = _SECONDS.get(match[2].lower()) if match else None
        if match is None or unit_s is None or float(match[1]) == 0:
            self.fail(f"{value!r} is not a length of time like 90s, 24h or 30d", param, ctx)
        return float(match[1]) * unit_s
