"""The adapters of each port, one after the other."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orchestratord.store.port import JobStore
from support.job_stores import ADAPTERS, Reopen, StoreHouse


@pytest.fixture(params=ADAPTERS)
async def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Reopen]:
    house = StoreHouse(request.param, tmp_path)
    yield house.reopen
    await house.close()


@pytest.fixture
async def store(reopen: Reopen) -> JobStore:
    return await reopen()
