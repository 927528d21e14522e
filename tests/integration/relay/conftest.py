"""Runs every async test of this folder on both loops."""

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Name the loops that a relay must work on."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
