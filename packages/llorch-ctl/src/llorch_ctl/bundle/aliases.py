"""Decides what stands for the names of people and machines in a bundle without names; pure."""

from collections.abc import Iterable, Sequence

from llorch_ctl.hosts.entries import HostEntry

__all__ = ["aliases_for"]

_SHORTEST = 3


def aliases_for(
    user: str, machine: str, entries: Sequence[HostEntry], pools: Iterable[str]
) -> dict[str, str]:
    """Name -> what is written for it; a host keeps one alias in all its spellings."""
    found: dict[str, str] = {}

    def stand(alias: str, *names: str | None) -> None:
        for name in names:
            # A name of one or two letters would take letters out of every word.
            if name and len(name) >= _SHORTEST:
                found.setdefault(name, alias)

    stand("user", user)
    stand("here", machine, machine.partition(".")[0])
    for number, entry in enumerate(entries, 1):
        address = entry.ssh.host if entry.ssh else None
        stand(
            f"host-{number}",
            entry.name,
            address,
            entry.url.split("/")[2].rpartition(":")[0] if entry.url else None,
        )
        stand("user", entry.ssh.user if entry.ssh else None)
    for number, pool in enumerate(pools, 1):
        stand(f"pool-{number}", pool)
    return found
