"""Ends a request's handler from outside, wherever it waits: the sweeper has lost patience with it."""

import asyncio
import contextlib

__all__ = ["run_out"]


def run_out(patience: asyncio.Timeout) -> None:
    """End the handler now; one that is on its way out already is left alone."""
    with contextlib.suppress(RuntimeError):
        patience.reschedule(asyncio.get_running_loop().time())
