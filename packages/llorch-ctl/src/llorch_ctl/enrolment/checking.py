"""Looks at enrolled hosts, several at a time, and lets the findings be judged. Changes nothing."""

import asyncio
from collections.abc import Sequence
from typing import Final, cast

from llorch_ctl.enrolment import scripts
from llorch_ctl.enrolment.arrival import Arrival, arrive
from llorch_ctl.enrolment.desk import Desk
from llorch_ctl.enrolment.door import Door, record_of
from llorch_ctl.enrolment.findings import Finding, Look, PoolWord, judge, unreachable
from llorch_ctl.hosts.entries import HostEntry
from llorch_ctl.settings import CliSettings
from orchestrator_core.errors import Exit, Refusal

__all__ = ["check_hosts"]

_AT_ONCE: Final = 8
_HOST_TIMEOUT_S: Final = 90.0
_PORT: Final = 9200


async def check_hosts(
    settings: CliSettings, entries: Sequence[HostEntry], desk: Desk | None, ours: str
) -> list[Finding]:
    """Everything about every host, in the order of the hosts."""
    turns = asyncio.Semaphore(_AT_ONCE)

    async def one(entry: HostEntry) -> list[Finding]:
        async with turns:
            return await _check(settings, entry, desk, ours)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(entry)) for entry in entries]
    return [finding for task in tasks for finding in task.result()]


async def _check(
    settings: CliSettings, entry: HostEntry, desk: Desk | None, ours: str
) -> list[Finding]:
    try:
        async with (
            asyncio.timeout(_HOST_TIMEOUT_S),
            arrive(settings, entry, port=_PORT) as arrival,
        ):
            if isinstance(arrival, Refusal):
                return unreachable(entry.name, arrival.message)
            return judge(await _look(arrival, desk, ours))
    except TimeoutError:
        line = f"it did not answer everything within {_HOST_TIMEOUT_S:.0f} s"
        return unreachable(entry.name, line)


async def _look(arrival: Arrival, desk: Desk | None, ours: str) -> Look:
    """Ask everything at once: each answer of the host costs the start of a program there."""
    door = arrival.door
    async with asyncio.TaskGroup() as group:
        version = group.create_task(_version(door))
        daemon_url = group.create_task(_daemon_url(door))
        units = group.create_task(_units(door))
        devices = group.create_task(_devices(door))
        pool = group.create_task(_pool(door.name, desk))
    there = version.result() is not None
    return Look(
        host=door.name,
        ours=ours,
        probe=arrival.probe,
        now_s=arrival.now_s,
        version=version.result(),
        daemon_url=daemon_url.result() if there else None,
        units=units.result(),
        devices=devices.result() if there else None,
        pool=pool.result(),
    )


async def _version(door: Door) -> str | None:
    answer = await door.ask("--version")
    if isinstance(answer, Refusal) or answer.code != Exit.OK:
        return None
    words = answer.out.decode("utf-8", "replace").split()
    return words[-1] if words else None


async def _daemon_url(door: Door) -> str | None:
    answer = await door.ask("daemon", "status", "--format", "json")
    if isinstance(answer, Refusal) or answer.code != Exit.OK:
        return None
    url = record_of(answer).get("url")
    return url if isinstance(url, str) else "its port"


async def _units(door: Door) -> dict[str, str]:
    text = await door.script(scripts.service_state(), "asking for the service")
    if isinstance(text, Refusal):
        return {}
    pairs = (line.partition("=") for line in text.splitlines())
    return {scope: state.strip() for scope, equals, state in pairs if equals}


async def _devices(door: Door) -> list[str] | None:
    answer = await door.ask("status", "--format", "json")
    if isinstance(answer, Refusal) or answer.code != Exit.OK:
        return None
    rows = record_of(answer).get("devices")
    if not isinstance(rows, list):
        return None
    tables = [
        cast("dict[str, object]", row)
        for row in cast("list[object]", rows)
        if isinstance(row, dict)
    ]
    return [str(row.get("name") or row.get("id")) for row in tables]


async def _pool(name: str, desk: Desk | None) -> PoolWord | None:
    if desk is None:
        return None
    found = await desk.pool(name)
    if isinstance(found, Refusal):
        return None
    if found is None:
        return PoolWord(None)
    return PoolWord(found.status, found.link, found.reason)
