"""A host is probed through a real sshd, whatever its shell says before it listens."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from llorch_ctl.enrolment.arrival import Arrival, arrive
from llorch_ctl.enrolment.turns import host_turn
from llorch_ctl.hosts.entries import HostEntry
from llorch_ctl.settings import CliSettings
from orchestrator_core.clients.ssh.destination import Destination
from orchestrator_core.config.layout import Layout
from orchestrator_core.errors import Code, Refusal
from support.sshd import Sshd, needs_sshd, running_sshd

pytestmark = needs_sshd


@dataclass
class Site:
    """A user who knows one host."""

    sshd: Sshd
    home: Path
    user: Path

    @property
    def settings(self) -> CliSettings:
        env = {"HOME": str(self.user), "LLORCH_HOME": str(self.user / "llorch")}
        return CliSettings(env, Layout.from_env(env))

    def arrive(self, *, port: int = 1) -> Arrival | Refusal:
        async def act() -> Arrival | Refusal:
            entry = HostEntry("mac", Destination("mac"))
            async with arrive(self.settings, entry, port=port) as found:
                return found

        return asyncio.run(act())


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    home, user = tmp_path / "home", tmp_path / "user"
    home.mkdir()
    (user / ".ssh").mkdir(parents=True)
    with running_sshd(tmp_path / "sshd", home=home) as sshd:
        (user / ".ssh" / "config").write_text(sshd.ssh_config("mac"))
        (user / ".ssh" / "known_hosts").write_text(sshd.known_hosts)
        yield Site(sshd, home, user)


def test_a_host_tells_what_it_is_like_and_nothing_is_left_there(site: Site) -> None:
    found = site.arrive()
    assert isinstance(found, Arrival), found
    assert found.probe.home == str(site.home)
    assert found.probe.version is None
    assert found.probe.disk_free_bytes
    assert found.probe.time_s is not None
    assert abs(found.probe.time_s - found.now_s) <= 5
    assert found.door.entry.command == f"{site.home}/.local/share/llorch/current/bin/llorch-pool"
    assert list(site.home.iterdir()) == []


def test_a_shell_that_greets_does_not_get_in_the_way(site: Site) -> None:
    (site.home / ".bashrc").write_text("echo Welcome; echo os=Plan9; echo end=1; echo oops >&2\n")
    found = site.arrive()
    assert isinstance(found, Arrival), found
    assert found.probe.os == "Linux"


def test_a_port_that_somebody_holds_is_noticed(site: Site) -> None:
    taken = site.arrive(port=site.sshd.port)
    assert isinstance(taken, Arrival), taken
    assert taken.probe.port_taken is True


def test_a_host_that_changed_its_key_is_not_asked_anything(site: Site) -> None:
    site.sshd.change_host_key()
    refusal = site.arrive()
    assert isinstance(refusal, Refusal)
    assert refusal.code is Code.HOST_KEY_CHANGED


@pytest.mark.parametrize("start", ["exit 1", "cat >/dev/null", "head -c 400000 /dev/zero"])
def test_a_shell_that_never_gets_to_our_script_is_named(site: Site, start: str) -> None:
    (site.home / ".bashrc").write_text(f"{start}\n")
    refusal = site.arrive()
    assert isinstance(refusal, Refusal)
    assert "look at what its start file does" in refusal.message


def test_a_host_that_forbids_tunnels_is_told_apart_from_one_that_allows_them(
    site: Site, tmp_path: Path
) -> None:
    async def knock() -> Refusal | None:
        entry = HostEntry("mac", Destination("mac"))
        async with arrive(site.settings, entry, port=1) as found:
            assert isinstance(found, Arrival)
            return await found.door.no_tunnel_to(site.sshd.port)

    assert asyncio.run(knock()) is None
    site.sshd.kill()
    closed = "PermitOpen none"
    with running_sshd(tmp_path / "closed", home=site.home, settings=closed) as site.sshd:
        (site.user / ".ssh" / "config").write_text(site.sshd.ssh_config("mac"))
        (site.user / ".ssh" / "known_hosts").write_text(site.sshd.known_hosts)
        refusal = asyncio.run(knock())
    assert isinstance(refusal, Refusal)
    assert "AllowTcpForwarding" in refusal.message


def test_one_command_at_a_time_changes_a_host(site: Site) -> None:
    with host_turn(site.settings, "mac") as first, host_turn(site.settings, "mac") as second:
        assert first is None
        assert isinstance(second, Refusal)
        assert second.code is Code.CONFLICT
    with host_turn(site.settings, "mac") as third:
        assert third is None
