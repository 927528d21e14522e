"""A download without room on the disk: told early, and nothing that came is lost."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator_core.units import GIB, MIB
from support.download_drill import FILE, SIZE, Drill
from support.fake_hub import FakeHub
from support.small_disk import SmallDisk, small_disk

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("repetition")]

TENTH = SIZE // 10
# More than what has to stay free beside a model.
ENOUGH = 2 * GIB
PAGE = 4096


@pytest.fixture
def disk(drill: Drill, tmp_path: Path) -> Iterator[SmallDisk]:
    """A small file system on which the models of the home lie."""
    with small_disk(tmp_path / "disk", 16 * MIB) as disk:
        drill.models = disk.folder / "models"
        drill.home.env["LLORCH_POOL_MODELS_FOLDER"] = str(drill.models)
        yield disk


def test_a_disk_without_room_is_told_before_a_byte_is_asked_for(
    drill: Drill, disk: SmallDisk
) -> None:
    done = drill.download().must(5)
    # 4 MiB, and 1 GiB that stays free, of which 16 MiB are there.
    assert "needs 4 MiB more and 16 MiB are free: make room for another 1012 MiB" in done.err
    assert drill.asked() == []
    drill.must_be_absent()
    disk.resize(ENOUGH)
    drill.download().must()
    drill.must_be_whole()


def test_a_disk_that_fills_on_the_way_costs_nothing_that_came(
    drill: Drill, hub: FakeHub, disk: SmallDisk
) -> None:
    disk.resize(ENOUGH)
    gate = drill.script.hold(0, TENTH)
    download = drill.begin()
    drill.wait_for_part(TENTH)
    disk.resize(16 * MIB)
    disk.grow_another_file(leaving_bytes=MIB)
    gate.set()
    done = download.finished().must(5)
    assert "the disk is full and " in done.err
    assert f"of {FILE} are still missing: make room and start again" in done.err
    kept = drill.part_bytes()
    # The file system rounds up to whole pages, once for each of the two files.
    assert TENTH < kept <= TENTH + MIB + 2 * PAGE
    drill.must_be_absent()

    # It is refused at once as long as there is no room.
    drill.download().must(5)
    disk.delete_other_file()
    disk.resize(ENOUGH)
    drill.download().must()
    assert drill.starts() == [0, kept]
    drill.must_be_whole()
