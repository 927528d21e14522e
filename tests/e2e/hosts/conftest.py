"""What the tests in networks of hosts share: the wheels, built once, and one fleet of three hosts."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.fleet import NAMES, Fleet, build_wheels
from support.host_lab import host_lab


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The suite's wheels and those of others for the platform of this machine."""
    return build_wheels(tmp_path_factory.mktemp("wheels"))


@pytest.fixture(scope="session")
def hub_of_three(tmp_path_factory: pytest.TempPathFactory, wheels: Path) -> Iterator[Fleet]:
    """An orchestrator on a hub, and three hosts that are strangers to it at first."""
    with host_lab(tmp_path_factory.mktemp("fleet"), names=NAMES) as lab:
        fleet = Fleet(lab, wheels)
        fleet.llorch("orchestrator", "start").must()
        yield fleet
        fleet.llorch("orchestrator", "stop").must()


@pytest.fixture
def fleet(hub_of_three: Fleet) -> Fleet:
    """The three hosts enrolled, online and with a worker each, whatever the last test did."""
    hub_of_three.restore(NAMES)
    return hub_of_three
