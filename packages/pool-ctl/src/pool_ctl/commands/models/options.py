"""Amounts as people write them: 30d, 12h, 20GiB, 500MB."""

import math
import re
from typing import Final

import click

from orchestrator_core.units import GIB, KIB, MIB

__all__ = ["Duration", "Size"]

_AMOUNT: Final = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s*([A-Za-z]+)", re.ASCII)
_SECONDS: Final = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_BYTES: Final = {
    "b": 1,
    "k": KIB,
    "kib": KIB,
    "kb": 1000,
    "m": MIB,
    "mib": MIB,
    "mb": 1000**2,
    "g": GIB,
    "gib": GIB,
    "gb": 1000**3,
    "t": 1024 * GIB,
    "tib": 1024 * GIB,
    "tb": 1000**4,
}


class Duration(click.ParamType[float]):
    """A length of time with its unit, in seconds."""

    name = "duration"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read a number and s, min, h, d or w."""
        amount = _read(str(value), _SECONDS)
        if amount is None:
            self.fail(f"{value!r} is not a length of time like 30d, 12h or 90min", param, ctx)
        return amount


class Size(click.ParamType[int]):
    """A number of bytes with its unit; GiB is 1024 MiB, GB is 1000 MB, and G means GiB."""

    name = "size"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Read a number and B, KiB, MiB, GiB, TiB or their decimal kin."""
        amount = _read(str(value), _BYTES)
        if amount is None:
            self.fail(f"{value!r} is not a size like 20GiB or 500MB", param, ctx)
        return math.ceil(amount)


def _read(text: str, units: dict[str, int]) -> float | None:
    match = _AMOUNT.fullmatch(text.strip())
    if match is None or match[2].lower() not in units:
        return None
    return float(match[1]) * units[match[2].lower()]
