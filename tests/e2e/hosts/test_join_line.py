"""A host that nobody can log in to joins by the one line that the hub prints for it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.fleet import Fleet, pool_of
from support.held_answers import LONG, LONG_ANSWER, held_answer
from support.host_lab import host_lab
from support.lab_host import LabHost

pytestmark = [pytest.mark.e2e, pytest.mark.drill]

PROGRAMS = "/root/.local/share/llorch/current/bin"
PORT = 9200


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, wheels: Path) -> Iterator[Fleet]:
    """A hub that speaks HTTPS, and a host with the suite installed whose sshd is gone."""
    with host_lab(tmp_path_factory.mktemp("lab"), names=("vm",)) as lab:
        fleet = Fleet(lab, wheels)
        fleet.speak_https()
        fleet.llorch("orchestrator", "start").must()
        fleet.trust("vm")
        fleet.enrol("vm", "--no-join").must()
        fleet.llorch("host", "list").must()
        lab["vm"].stop_sshd()
        yield fleet
        fleet.llorch("orchestrator", "stop").must()


def pool_command(host: LabHost, *argv: str) -> str:
    return host.run(f"{PROGRAMS}/llorch-pool", *argv).must().out


def test_the_printed_line_makes_the_host_a_pool_that_answers_jobs(site: Fleet) -> None:
    vm = site.lab["vm"]
    told = json.loads(site.llorch("host", "add", "vm", "--join", "--format", "json").must().out)
    assert told["command"].startswith(
        f"llorch-pool daemon join --url https://{site.lab.hub.address}"
    )
    done = vm.run("sh", "-c", told["command"], env={"PATH": f"{PROGRAMS}:/usr/bin:/bin"}).must()
    assert "vm is a pool of" in done.out
    pool = site.pools()["vm"]
    assert (pool["status"], pool["road"], pool["joined"]) == ("online", "relay", True)
    assert pool["endpoint"] == f"https://{vm.address}:{PORT}"
    again = vm.run("sh", "-c", told["command"], env={"PATH": f"{PROGRAMS}:/usr/bin:/bin"}).must()
    assert "is already a pool of" in again.out + again.err

    # Its workers stay on loopback: what they say goes through the one encrypted port.
    pool_command(vm, "worker", "spawn", "cpu", "--model", "tiny-chat")
    site.until_ready("vm")
    assert {it.port for it in vm.listeners() if not it.is_loopback} == {PORT}
    job = site.ask(LONG)
    assert (job["status"], job["output"], pool_of(job)) == ("completed", LONG_ANSWER, "vm")


def test_an_answer_goes_on_when_the_cable_of_the_joined_host_is_back(site: Fleet) -> None:
    vm = site.lab["vm"]
    site.until_ready("vm")
    with held_answer(site, "vm") as held:
        vm.cut()
        held.let_go()
        site.until_status("vm", "suspect", "lost")
        vm.heal()
        site.until_ready("vm")
        assert held.reader.ended() == LONG_ANSWER
    assert site.window.job(held.job_id)["output"] == LONG_ANSWER


def test_a_removed_host_is_let_in_no_more(site: Fleet) -> None:
    assert "vm" in site.pools()
    site.llorch("host", "remove", "vm", "--yes", "--force").must()
    assert site.pools() == {}
    told = site.lab["vm"].run(f"{PROGRAMS}/llorch-pool", "daemon", "status", "--format", "json")
    assert "Traceback" not in told.err
