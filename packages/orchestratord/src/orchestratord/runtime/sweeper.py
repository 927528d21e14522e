"""The one duty that looks at the clock for everybody: once a second it calls its list of checks."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

__all__ = ["sweep_for_ever"]

_PERIOD_S: Final = 1.0


async def sweep_for_ever(checks: Sequence[Callable[[], None]], period_s: float = _PERIOD_S) -> None:
    """Run every check once per period until cancelled."""
    while True:
        await asyncio.sleep(period_s)
        for check in checks:
            check()
