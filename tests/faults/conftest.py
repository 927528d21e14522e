"""What the drills share: which repetition this is, and a hub with a home that downloads from it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.download_drill import TOKEN, Drill, drill_at
from support.fake_hub import FakeHub


@pytest.fixture
def repetition(request: pytest.FixtureRequest) -> int:
    """Which repetition of a drill this is; it is the seed of what is left to chance."""
    return int(request.param)


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub(token=TOKEN) as hub:
        yield hub


@pytest.fixture
def drill(hub: FakeHub, tmp_path: Path) -> Iterator[Drill]:
    with drill_at(tmp_path, hub) as drill:
        yield drill
