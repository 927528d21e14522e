"""A small network of hosts on one machine: network namespaces with a real sshd in each.

Every host has its own network, processes, home and /run; only the rest of the file system is shared.
A host lives as long as a pipe of this process is open, so that nothing can outlive a killed test.
"""

import contextlib
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

import pytest

from support.lab_host import PATH, LabHost
from support.lab_kernel import (
    do,
    hold,
    inside,
    inside_mounts,
    missing_for_a_lab,
)

__all__ = ["HUB", "HostLab", "host_lab"]

HUB: Final = "hub"
"""The host on which the orchestrator and the commands run; it has no sshd."""

_NETWORK: Final = "10.77.0"


@dataclass(slots=True)
class HostLab:
    """The hosts by name, the hub among them."""

    folder: Path
    cleaning: contextlib.ExitStack
    hosts: dict[str, LabHost] = field(default_factory=dict[str, LabHost])

    @property
    def hub(self) -> LabHost:
        """Where the orchestrator and the commands run."""
        return self.hosts[HUB]

    def __getitem__(self, name: str) -> LabHost:
        return self.hosts[name]

    def __iter__(self) -> Iterator[LabHost]:
        return (host for name, host in self.hosts.items() if name != HUB)

    def power_on(self, name: str) -> None:
        """Start a host that was powered off: its files are there, and nothing but sshd runs."""
        host = self.hosts[name]
        host.holder, host.pid = hold(self.cleaning, name)
        _boot(host)
        host.start_sshd()

    def open_to_hub(self) -> Self:
        """Let the hub's own key log in everywhere; no host is trusted by that."""
        key = self.hub.home / ".ssh" / "id_ed25519"
        _make_key(key)
        for host in self:
            keys = host.home / ".ssh" / "authorized_keys"
            keys.write_text(key.with_suffix(".pub").read_text("ascii"), "ascii")
            keys.chmod(0o600)
        return self


@contextlib.contextmanager
def host_lab(
    folder: Path, names: Sequence[str] = ("mac", "workstation", "blep")
) -> Generator[HostLab]:
    """Build a network of these hosts and a hub, each with an address of 10.77.0.0/24."""
    reason = missing_for_a_lab()
    if reason is not None:
        pytest.skip(f"no lab of hosts: {reason}")
    with contextlib.ExitStack() as cleaning:
        switch = hold(cleaning)
        inside(switch[1], "ip", "link", "add", "br0", "type", "bridge")
        inside(switch[1], "ip", "link", "set", "br0", "up")
        lab = HostLab(folder, cleaning)
        addresses = {name: f"{_NETWORK}.{n}" for n, name in enumerate((HUB, *names), start=1)}
        _write_names(folder, addresses)
        for name, address in addresses.items():
            lab.hosts[name] = _build(lab, name, address, switch[1])
        lab.open_to_hub()
        for host in lab:
            host.start_sshd()
        yield lab


def _build(lab: HostLab, name: str, address: str, switch_pid: int) -> LabHost:
    folder = lab.folder / name
    (folder / "home" / ".ssh").mkdir(parents=True, mode=0o700)
    holder, pid = hold(lab.cleaning, name)
    host = LabHost(name, address, folder, switch_pid, holder, pid)
    # /root is the home in the eyes of every program of the host, sshd's included. The hub's
    # programs may lie below /root, so it is told its home by the environment instead.
    home = str(host.home) if name == HUB else "/root"
    host.env = {"HOME": home, "PATH": PATH, "LANG": "C.UTF-8", "NO_COLOR": "1", "COLUMNS": "200"}
    if name != HUB:
        _make_key(folder / "hostkey")
    lab.cleaning.callback(host.stop_sshd)
    _boot(host)
    return host


def _boot(host: LabHost) -> None:
    _plug_in(host)
    inside_mounts(host.pid, "mount", "-t", "tmpfs", "tmpfs", "/run")
    inside_mounts(host.pid, "mkdir", "/run/sshd")
    inside_mounts(host.pid, "mount", "--bind", str(host.folder.parent / "hosts"), "/etc/hosts")
    if host.name != HUB:
        inside_mounts(host.pid, "mount", "--bind", str(host.home), "/root")


def _plug_in(host: LabHost) -> None:
    switch, cable = host.switch_pid, host.cable
    # A host has the same card when it comes back; the others remember where that is.
    number = int(host.address.rpartition(".")[2])
    card = f"02:00:00:00:00:{number:02x}"
    inside(switch, "ip", "link", "add", cable, "type", "veth",
           "peer", "name", "eth0", "address", card)  # fmt: skip
    inside(switch, "ip", "link", "set", "eth0", "netns", str(host.pid))
    inside(switch, "ip", "link", "set", cable, "master", "br0", "up")
    inside(host.pid, "ip", "address", "add", f"{host.address}/24", "dev", "eth0")
    inside(host.pid, "ip", "link", "set", "eth0", "up")
    inside(host.pid, "ip", "link", "set", "lo", "up")


def _write_names(folder: Path, addresses: Mapping[str, str]) -> None:
    lines = ["127.0.0.1 localhost", "::1 localhost"]
    lines += [f"{address} {name}" for name, address in addresses.items()]
    (folder / "hosts").write_text("\n".join(lines) + "\n", "ascii")


def _make_key(path: Path) -> None:
    do("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", path.parent.name, "-f", str(path))
