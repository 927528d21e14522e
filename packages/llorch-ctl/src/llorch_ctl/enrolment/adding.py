"""llorch host add, from the login to the first heartbeat: joins the parts and hands them on."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from llorch_ctl.enrolment.acts import HostActs
from llorch_ctl.enrolment.arrival import Arrival, arrive, installed_door, plan_for
from llorch_ctl.enrolment.daemon_acts import DaemonActs
from llorch_ctl.enrolment.desk import Desk
from llorch_ctl.enrolment.host_settings import pool_named_in, settings_for
from llorch_ctl.enrolment.joining import PushWay
from llorch_ctl.enrolment.plan import Plan, Wanted
from llorch_ctl.enrolment.pool_keys import PoolKeys
from llorch_ctl.enrolment.reach import Reach, find_reach
from llorch_ctl.enrolment.steps import Enrolment
from llorch_ctl.enrolment.turns import host_turn
from llorch_ctl.enrolment.wheelhouse import Suite
from llorch_ctl.hosts.book import HostBook
from llorch_ctl.hosts.entries import HostEntry
from llorch_ctl.hosts.ways import login
from llorch_ctl.settings import CliSettings
from orchestrator_core.clients.ssh.destination import Destination
from orchestrator_core.clock import SystemClock
from orchestrator_core.errors import Code, Refusal

if TYPE_CHECKING:
    from orchestrator_core.contracts.control import PoolView

__all__ = ["Added", "Adding", "add_host"]

_TOKEN_BYTES = 32


@dataclass(frozen=True, slots=True)
class Adding:
    """Everything that a person chose."""

    entry: HostEntry
    destination: Destination
    wanted: Wanted
    suite: Suite
    third_party: Path
    again: str
    endpoint: Destination | None = None
    push: PushWay | None = None


@dataclass(frozen=True, slots=True)
class Added:
    """What came of it; without steps taken the plan is all there is."""

    arrival: Arrival
    plan: Plan
    is_done: bool
    pool: "PoolView | None" = None


async def add_host(
    settings: CliSettings,
    adding: Adding,
    desk: Desk | None,
    *,
    say: Callable[[str], None],
    agree: Callable[[Plan], bool],
) -> Added | Refusal:
    """Look, plan, and do it if the plan is agreed to."""
    wanted = adding.wanted
    with host_turn(settings, wanted.name) as taken:
        if taken is not None:
            return taken
        if desk is not None:
            # An orchestrator that cannot be asked is found out before the host is touched.
            identity = await desk.identity()
            if isinstance(identity, Refusal):
                return identity
        port = wanted.port
        async with arrive(settings, adding.entry, port=port, python=wanted.python) as arrival:
            if isinstance(arrival, Refusal):
                return arrival
            return await _add(settings, adding, desk, arrival, say, agree)


async def _add(
    settings: CliSettings,
    adding: Adding,
    desk: Desk | None,
    arrival: Arrival,
    say: Callable[[str], None],
    agree: Callable[[Plan], bool],
) -> Added | Refusal:
    plan = plan_for(arrival, adding.wanted, adding.suite, adding.third_party)
    if isinstance(plan, Refusal):
        return plan
    reach = await _reach(settings, adding)
    if isinstance(reach, Refusal):
        return reach
    door = installed_door(arrival)
    host = HostActs(door, arrival.probe, plan, adding.suite, say)
    values = await _values(host, adding, desk)
    if isinstance(values, Refusal):
        return values
    if not agree(plan):
        return Added(arrival, plan, is_done=False)
    enrolment = Enrolment(
        host,
        DaemonActs(door, arrival.probe, say),
        adding.wanted,
        values,
        HostBook.of(settings).put,
        PoolKeys(settings.layout.host_secrets),
        lambda: secrets.token_urlsafe(_TOKEN_BYTES),
        say,
        SystemClock(),
        desk=desk,
        reach=reach,
        push=adding.push,
    )
    refusal = await enrolment.run(adding.again)
    return refusal or Added(arrival, plan, is_done=True, pool=enrolment.pool)


async def _reach(settings: CliSettings, adding: Adding) -> Reach | Refusal | None:
    if adding.wanted.road != "ssh":
        return None
    name, given = adding.wanted.name, adding.endpoint
    return await find_reach(name, adding.destination, login(settings), given=given)


async def _values(
    host: HostActs, adding: Adding, desk: Desk | None
) -> Mapping[str, str | None] | Refusal:
    """What its settings will say; refused where the host or the name is somebody else's."""
    text = await host.read_settings()
    if isinstance(text, Refusal):
        return text
    name = adding.wanted.name
    values = settings_for(text, adding.wanted, url=adding.push.url if adding.push else None)
    if isinstance(values, Refusal):
        return Refusal(values.code, f"{host.door.name}: {values.message}")
    if desk is None or pool_named_in(text) == name:
        return values
    # A host that has never heard of the name, while another answers to it.
    pool = await desk.pool(name)
    if isinstance(pool, Refusal):
        return pool
    if pool is not None and pool.status in ("online", "draining"):
        line = (
            f"there is a pool {name} already, on another host that is {pool.status}: "
            f"take another name, or run first: llorch host remove {name}"
        )
        return Refusal(Code.CONFLICT, line)
    return values
