"""Reads the parts that somebody wants to know of; one that fails costs itself and no other."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from llorch_ctl.diagnosis.daemon_reading import read_daemons, read_faults
from llorch_ctl.diagnosis.daemon_settings import read_configs
from llorch_ctl.diagnosis.facts import ControlFacts, HostFacts
from llorch_ctl.diagnosis.host_reading import read_hosts
from llorch_ctl.diagnosis.local_reading import read_local, read_ssh
from llorch_ctl.diagnosis.orchestrator_reading import read_orchestrator
from llorch_ctl.hosts.entries import HostEntry
from llorch_ctl.settings import CliSettings
from orchestrator_core.errors import LlorchError

__all__ = ["Wanted", "examine"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to look at: machines from within or only whether they answer; hosts only if named."""

    machine: bool = True
    url: str | None = None
    hosts: Sequence[HostEntry] = ()


def examine(settings: CliSettings, wanted: Wanted) -> ControlFacts:
    """Read what is wanted; settings files are always looked at."""
    unread: dict[str, str] = {}

    def part(name: str, read: Callable[[], T]) -> T | None:
        try:
            return read()
        except LlorchError as error:
            unread[name] = error.refusal.message
        except Exception as error:  # noqa: BLE001 - a doctor that falls ill tells the rest.
            unread[name] = f"{type(error).__name__}: {error}"
        return None

    def machine(name: str, read: Callable[[], T]) -> T | None:
        return part(name, read) if wanted.machine else None

    configs = part("settings", lambda: read_configs(settings.daemon_env())) or {}
    return ControlFacts(
        local=machine("this machine", lambda: read_local(settings)),
        ssh=machine("ssh", lambda: read_ssh(settings)),
        faults=part("settings files", lambda: read_faults(settings, configs)),
        daemons=machine("daemons", lambda: read_daemons(settings, configs)),
        orchestrator=machine("orchestrator", lambda: read_orchestrator(settings, wanted.url)),
        hosts=part("hosts", lambda: asyncio.run(_hosts(settings, wanted))),
        unread=unread,
    )


async def _hosts(settings: CliSettings, wanted: Wanted) -> tuple[HostFacts, ...]:
    return await read_hosts(settings, wanted.hosts, with_doctor=wanted.machine)
