"""Three machines become one endpoint with one command each; one of them leaves and comes back.

Each host is a network of its own with a real sshd; nothing but port 22 of it can be reached.
"""

import pytest

from support.fleet import NAMES, Fleet, pool_of
from support.lab_host import LabHost

pytestmark = pytest.mark.e2e


def reaches(hub: LabHost, host: LabHost, port: int) -> bool:
    knock = f"exec 3<>/dev/tcp/{host.address}/{port}"
    return hub.run("timeout", "2", "bash", "-c", knock).code == 0


def daemon_pids(host: LabHost) -> list[int]:
    return sorted(process.pid for process in host.named("pool-managerd"))


def test_strangers_are_no_pools(hub_of_three: Fleet) -> None:
    assert hub_of_three.pools() == {}
    refused = hub_of_three.enrol("mac").must(4)
    assert "run: llorch host trust mac" in refused.err


def test_three_hosts_are_enrolled_side_by_side_by_one_command_each(hub_of_three: Fleet) -> None:
    fleet = hub_of_three
    fleet.enrol_all(NAMES)
    pools = fleet.pools()
    assert sorted(pools) == sorted(NAMES)
    for name in NAMES:
        assert pools[name]["status"] == "online"
        assert (pools[name]["road"], pools[name]["link"]) == ("ssh", "up")
        assert [it["kind"] for it in pools[name]["devices"]] == ["cpu"]
    listed = fleet.llorch("pool", "list").must().out
    assert all(name in listed for name in NAMES)


def test_workers_start_by_the_name_of_their_host_and_answer_jobs(hub_of_three: Fleet) -> None:
    fleet = hub_of_three
    for name in NAMES:
        assert fleet.spawn(name)["status"] == "ready"
        fleet.until_ready(name)
    jobs = {name: fleet.ask(pin_pool=name) for name in NAMES}
    for name, job in jobs.items():
        assert (job["status"], pool_of(job)) == ("completed", name)
    assert len({job["output"] for job in jobs.values()}) == 1


def test_a_person_who_asks_on_the_hub_is_answered_by_a_host(fleet: Fleet) -> None:
    done = fleet.llorch(
        "jobs", "submit", "--model", "tiny-chat", "--prompt", "What is a worker?",
        "--temperature", "0", "--pin-pool", "blep",
    ).must()  # fmt: skip
    assert done.out.strip() == fleet.ask()["output"].strip()
    fleet.llorch("host", "check", "blep").must()


def test_enrolling_twice_changes_nothing(fleet: Fleet) -> None:
    mac = fleet.lab["mac"]
    keys = mac.home / ".ssh/authorized_keys"
    before = (daemon_pids(mac), keys.read_text("ascii"))
    assert "all is there" in fleet.enrol("mac").must().err
    assert (daemon_pids(mac), keys.read_text("ascii")) == before
    assert before[1].count("llorch:") == 1


def test_only_the_ssh_port_of_a_host_can_be_reached(fleet: Fleet) -> None:
    for host in fleet.lab:
        ports = {it.port for it in host.listeners()}
        # pool-managerd and the worker listen as well, for their own host alone.
        assert len(ports) >= 3
        assert [port for port in sorted(ports) if reaches(fleet.lab.hub, host, port)] == [22]
        assert {it.port for it in host.listeners() if not it.is_loopback} == {22}


def test_a_removed_host_is_as_it_was_and_may_come_back(fleet: Fleet) -> None:
    host = fleet.lab["blep"]
    fleet.llorch("host", "remove", "blep", "--yes", timeout_s=90).must()
    assert sorted(fleet.pools()) == ["mac", "workstation"]
    assert [p.name() for p in host.processes() if "sshd" not in p.name()] == []
    assert {it.port for it in host.listeners()} == {22}
    own_key = (fleet.lab.hub.home / ".ssh/id_ed25519.pub").read_text("ascii")
    assert (host.home / ".ssh/authorized_keys").read_text("ascii").strip() == own_key.strip()
    left = [it for it in host.home.rglob("*") if "llorch" in str(it.relative_to(host.home))]
    assert left == []
    fleet.llorch("host", "remove", "blep", "--yes").must()
    assert {pool_of(fleet.ask()) for _ in range(3)} <= {"mac", "workstation"}
    fleet.enrol("blep").must()
    fleet.spawn("blep")
    fleet.until_ready("blep")
    assert fleet.ask(pin_pool="blep")["status"] == "completed"
