"""The interpreter is handed round sooner while somebody reads, and as before when nobody does."""

import sys
from collections.abc import Iterator

import pytest

from orchestratord.store.haste import Haste


@pytest.fixture
def calm_s() -> Iterator[float]:
    before = sys.getswitchinterval()
    yield before
    sys.setswitchinterval(before)


def test_the_last_reader_brings_the_calm_back(calm_s: float) -> None:
    haste = Haste()
    haste.begin()
    haste.begin()
    assert sys.getswitchinterval() < calm_s
    haste.end()
    assert sys.getswitchinterval() < calm_s
    haste.end()
    assert sys.getswitchinterval() == pytest.approx(calm_s)
