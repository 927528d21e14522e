"""When the disk is taken as short of space, and what is done about it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_core.errors import Code
from orchestrator_core.units import MIB
from orchestratord.runtime.upkeep.disk_watch import DiskWatch, is_short
from orchestratord.store.ballast import Ballast
from orchestratord.store.memory import MemoryStore
from orchestratord.store.port import Vitals

SIZES = st.integers(0, 1 << 40)


class Disk(MemoryStore):
    """A store whose disk is as full as the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.now = Vitals(free_bytes=1000 * MIB)

    def vitals(self) -> Vitals:
        """What the test says."""
        return self.now

    def leave(self, free_mib: int) -> None:
        """Change what is free."""
        self.now = replace(self.now, free_bytes=free_mib * MIB)


@pytest.fixture
def cries() -> list[str]:
    return []


@pytest.fixture
async def disk() -> Disk:
    return Disk()


@pytest.fixture
def ballast(tmp_path: Path) -> Ballast:
    return Ballast(tmp_path / "ballast", 4 * MIB)


@pytest.fixture
def watch(disk: Disk, ballast: Ballast, tmp_path: Path, cries: list[str]) -> DiskWatch:
    return DiskWatch(
        store=disk,
        ballast=ballast,
        folder=tmp_path,
        reserve_bytes=100 * MIB,
        on_short=lambda: cries.append("short"),
    )


@given(was_short=st.booleans(), free_bytes=SIZES, wanted_bytes=SIZES)
def test_more_space_never_makes_it_short(
    *, was_short: bool, free_bytes: int, wanted_bytes: int
) -> None:
    told: Callable[[int], bool] = lambda free: is_short(  # noqa: E731 - one question, asked twice.
        was_short=was_short, free_bytes=free, wanted_bytes=wanted_bytes
    )
    assert told(free_bytes) >= told(free_bytes + 1)
    assert told(free_bytes) or free_bytes >= wanted_bytes


async def test_a_short_disk_is_told_to_admission_with_path_and_patience(
    watch: DiskWatch, disk: Disk, tmp_path: Path
) -> None:
    watch.look()
    assert disk.low_on_space is None
    disk.leave(50)
    watch.look()
    refusal = disk.low_on_space
    assert refusal is not None
    assert (refusal.code, refusal.retry_after_s) == (Code.DISK_LOW, 30)
    assert f"50 MiB are free under {tmp_path} and 104 MiB are wanted" in refusal.message


async def test_a_little_more_space_than_the_limit_is_not_enough_again(
    watch: DiskWatch, disk: Disk, ballast: Ballast
) -> None:
    ballast.make()
    for free_mib, short in ((100, False), (99, True), (105, True), (109, True), (111, False)):
        disk.leave(free_mib)
        watch.look()
        assert (disk.low_on_space is not None) is short, free_mib


async def test_space_that_the_ballast_still_needs_is_spoken_for(
    watch: DiskWatch, disk: Disk, ballast: Ballast
) -> None:
    disk.leave(103)
    watch.look()
    assert disk.low_on_space is not None
    ballast.make()
    disk.leave(112)
    watch.look()
    assert disk.low_on_space is None


async def test_retention_is_hurried_once_per_shortage(
    watch: DiskWatch, disk: Disk, cries: list[str]
) -> None:
    for free_mib in (50, 40, 500, 50):
        disk.leave(free_mib)
        watch.look()
    assert cries == ["short", "short"]
    disk.now = replace(disk.now, full=True)
    watch.look()
    watch.look()
    assert len(cries) == 3


async def test_a_file_system_that_tells_nothing_is_taken_as_large_enough(
    watch: DiskWatch, disk: Disk
) -> None:
    disk.now = Vitals(free_bytes=None)
    watch.look()
    assert disk.low_on_space is None
