"""Arrives at a host: finds its entry, logs in, probes it, and makes the plan. Changes nothing."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from llorch_ctl.enrolment.door import Door, never_begun
from llorch_ctl.enrolment.plan import Plan, Wanted, make_plan, wants_third_party
from llorch_ctl.enrolment.probe import Probe, probe_script, read_probe
from llorch_ctl.enrolment.shell_text import after_mark, has_begun, marked
from llorch_ctl.enrolment.wheelhouse import Suite, ThirdParty, read_third_party
from llorch_ctl.hosts.entries import HostEntry
from llorch_ctl.hosts.ways import open_ssh
from llorch_ctl.settings import CliSettings
from orchestrator_core.clock import SystemClock
from orchestrator_core.errors import Refusal

if TYPE_CHECKING:
    from orchestrator_core.clients.ssh.connection import SshConnection

__all__ = ["Arrival", "arrive", "installed_door", "plan_for", "probe_host"]

_PROBE_TIMEOUT_S: Final = 60.0
_PROGRAM: Final = "current/bin/llorch-pool"


@dataclass(frozen=True, slots=True)
class Arrival:
    """A host that we are logged in at, and what it is like; now_s is our clock then."""

    door: Door
    probe: Probe
    now_s: float


@asynccontextmanager
async def arrive(
    settings: CliSettings, entry: HostEntry, *, port: int, python: str | None = None
) -> AsyncGenerator[Arrival | Refusal]:
    """Log in and probe; the connection ends with the block."""
    connection = await open_ssh(settings, entry)
    if isinstance(connection, Refusal):
        yield connection
        return
    async with connection:
        probe = await probe_host(connection, entry, port=port, python=python)
        if isinstance(probe, Refusal):
            yield probe
            return
        program = f"{probe.root}/{_PROGRAM}"
        door = Door(replace(entry, command=entry.command or program), connection)
        yield Arrival(door, probe, SystemClock().unix_ms() / 1000)


def installed_door(arrival: Arrival) -> Door:
    """The same host by the llorch-pool that we install, whatever its entry named before."""
    program = f"{arrival.probe.root}/{_PROGRAM}"
    return replace(arrival.door, entry=replace(arrival.door.entry, command=program))


async def probe_host(
    connection: "SshConnection", entry: HostEntry, *, port: int, python: str | None = None
) -> Probe | Refusal:
    """Ask a host what it is like."""
    text = probe_script(port=port, python=python, home=entry.home)
    end = await connection.script(marked(text), timeout_s=_PROBE_TIMEOUT_S)
    if isinstance(end, Refusal):
        return end
    if not has_begun(end.out):
        return never_begun(entry.name, end.status)
    probe = read_probe(after_mark(end.out))
    if isinstance(probe, Refusal):
        return Refusal(probe.code, f"{entry.name}: {probe.message}")
    return probe


def plan_for(
    arrival: Arrival, wanted: Wanted, suite: Suite, third_party_folder: Path
) -> Plan | Refusal:
    """Make the plan, with the wheels of others where they are needed."""
    third_party: ThirdParty | None = None
    wanted = replace(wanted, now_s=arrival.now_s)
    platform = arrival.probe.platform
    if platform is not None and wants_third_party(arrival.probe, wanted):
        found = read_third_party(third_party_folder, platform)
        if not isinstance(found, Refusal):
            third_party = found
        elif wanted.offline:
            return found
    return make_plan(arrival.probe, wanted, suite, third_party)
