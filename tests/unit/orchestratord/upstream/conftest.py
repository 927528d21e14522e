"""Runs every async test of this folder on both loops, with a scripted worker to talk to."""

import asyncio
from collections.abc import Callable, Iterator, Mapping

import pytest
import uvloop

from support.scripted_peer import ScriptedWorker


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Name the loops that an exchange must work on."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
def worker() -> Iterator[ScriptedWorker]:
    """A listening worker, closed with all its connections at the end."""
    scripted = ScriptedWorker()
    yield scripted
    scripted.close()
