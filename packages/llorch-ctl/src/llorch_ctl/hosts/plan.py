"""Decides in which order the ways to a host are tried; pure."""

from dataclasses import dataclass
from enum import StrEnum

from llorch_ctl.hosts.entries import HostEntry
from orchestrator_core.errors import Code, Refusal

__all__ = ["Errand", "Via", "Way", "plan_ways"]


class Via(StrEnum):
    """What a person said about the way."""

    SSH = "ssh"
    HTTP = "http"
    AUTO = "auto"


class Way(StrEnum):
    """The three ways: pool-managerd by its address, by a tunnel, or llorch-pool through SSH."""

    HTTP = "http"
    TUNNEL = "tunnel"
    SSH = "ssh"


@dataclass(frozen=True, slots=True)
class Errand:
    """What of a command decides about its way."""

    name: str
    needs_ssh: bool
    names_url: bool
    has_key: bool


def plan_ways(entry: HostEntry, errand: Errand, via: Via) -> tuple[Way, ...] | Refusal:
    """The ways to try one after the other; with a way that a person named there is no other."""
    if via is Via.SSH or (via is Via.AUTO and (errand.needs_ssh or errand.names_url)):
        return (Way.SSH,) if entry.ssh else _no_ssh(entry)
    if via is Via.HTTP:
        return _by_http(entry, errand)
    ways: list[Way] = []
    if errand.has_key and entry.url:
        ways.append(Way.HTTP)
    if entry.ssh:
        ways += [Way.TUNNEL, Way.SSH] if errand.has_key else [Way.SSH]
    return tuple(ways) or _no_key(entry)


def _by_http(entry: HostEntry, errand: Errand) -> tuple[Way, ...] | Refusal:
    if errand.needs_ssh:
        line = f"{errand.name} works on the host itself: it takes --via ssh only"
        return Refusal(Code.INVALID_REQUEST, line)
    if errand.names_url:
        return Refusal(Code.INVALID_REQUEST, "--url does not go with --via http: the host has one")
    if not errand.has_key:
        return _no_key(entry)
    return (Way.HTTP,) if entry.url else (Way.TUNNEL,)


def _no_ssh(entry: HostEntry) -> Refusal:
    line = f'{entry.name} has no ssh: add ssh = "USER@HOST" to [hosts.{entry.name}] of llorch.toml'
    return Refusal(Code.INVALID_REQUEST, line)


def _no_key(entry: HostEntry) -> Refusal:
    line = (
        f"no key opens pool-managerd on {entry.name}: name its key_file in "
        f"[hosts.{entry.name}] of llorch.toml, or take --via ssh"
    )
    return Refusal(Code.NO_KEY, line)
