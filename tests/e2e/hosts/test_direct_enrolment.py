"""A host that reports by itself, without a tunnel: llorch host add --direct, again, and undone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.fleet import Fleet
from support.host_lab import host_lab

pytestmark = [pytest.mark.e2e, pytest.mark.drill]

BIND = "10.77.0.2:9200"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, wheels: Path) -> Iterator[Fleet]:
    with host_lab(tmp_path_factory.mktemp("lab"), names=("mac",)) as lab:
        fleet = Fleet(lab, wheels)
        fleet.speak_https()
        fleet.llorch("orchestrator", "start").must()
        fleet.trust("mac")
        fleet.enrol("mac", "--direct", BIND).must()
        yield fleet
        fleet.llorch("orchestrator", "stop").must()


def test_it_is_a_pool_that_is_reached_at_its_own_port(fleet: Fleet) -> None:
    pool = fleet.pools()["mac"]
    assert (pool["status"], pool["endpoint"]) == ("online", f"https://{BIND}")
    assert "llorch:" not in (fleet.lab["mac"].home / ".ssh/authorized_keys").read_text()


def test_its_key_and_certificate_are_kept_here(fleet: Fleet) -> None:
    done = fleet.llorch("pool", "worker", "list", "--host", "mac", "--via", "http", "-v").must()
    assert f"http https://{BIND}" in done.err


def test_the_same_command_once_more_changes_nothing(fleet: Fleet) -> None:
    mac = fleet.lab["mac"]
    settings = mac.home / ".config/llorch/pool.toml"
    pids, text = [it.pid for it in mac.named("pool-managerd")], settings.read_text()
    done = fleet.enrol("mac", "--direct", BIND).must()
    assert "already" in done.err
    assert [it.pid for it in mac.named("pool-managerd")] == pids
    assert settings.read_text() == text


def test_it_takes_no_second_road_before_it_has_left_the_first(fleet: Fleet) -> None:
    refused = fleet.enrol("mac").must(1)
    assert "llorch pool daemon leave --host mac" in refused.err
    assert fleet.status("mac") == "online"


def test_removing_it_leaves_nothing_behind(fleet: Fleet) -> None:
    fleet.llorch("host", "remove", "mac", "--yes").must()
    assert fleet.pools() == {}
    home = fleet.lab["mac"].home
    assert sorted(path.name for path in home.iterdir()) == [".ssh"]
    assert not list((fleet.lab.hub.home / ".local/state/llorch/hosts").glob("mac.*"))
