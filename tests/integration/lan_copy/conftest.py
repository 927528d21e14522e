"""A hub, hosts with and without a way to it, and another pool that holds a model."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.fake_hub import FakeHub
from support.lan_copies import shared
from support.model_store import Bench
from support.scripted_pools import ScriptedPool, scripted_pool
from support.tiny_library import FILES, REPO, SMALL


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as hub:
        hub.add(REPO, FILES)
        yield hub


@pytest.fixture
def bench(tmp_path: Path, hub: FakeHub) -> Bench:
    """A host whose way to the hub is open."""
    return Bench(tmp_path / "open", hub)


@pytest.fixture
def cut_off(tmp_path: Path) -> Bench:
    """A host whose hub answers nowhere."""
    return Bench(tmp_path / "cut")


@pytest.fixture
def mac(tmp_path: Path) -> Iterator[ScriptedPool]:
    """Another pool that holds the model."""
    with scripted_pool(tmp_path) as pool:
        pool.add(SMALL)
        pool.models.append(shared())
        yield pool
