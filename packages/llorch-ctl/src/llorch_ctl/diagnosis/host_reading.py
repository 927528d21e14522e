"""Asks hosts side by side whether they are reached, which llorch-pool answers, and what it finds."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from llorch_ctl.diagnosis.facts import HostFacts
from llorch_ctl.diagnosis.local_reading import own_version
from llorch_ctl.diagnosis.told_findings import read_findings
from llorch_ctl.hosts.book import HostBook
from llorch_ctl.hosts.entries import HostEntry
from llorch_ctl.hosts.remote import ask_host
from llorch_ctl.hosts.ways import open_ssh
from llorch_ctl.settings import CliSettings
from orchestrator_core.errors import Code, LlorchError, Refusal

__all__ = ["named_hosts", "read_hosts"]

_AT_ONCE: Final = 8
_TIMEOUT_S: Final = 15.0
_DOCTOR: Final = ("dev", "doctor", "--format", "json")


def named_hosts(settings: CliSettings) -> list[HostEntry]:
    """Every host of llorch.toml; none where the file is wrong, which is a finding of its own."""
    try:
        return HostBook.of(settings).entries()
    except LlorchError:
        return []


async def read_hosts(
    settings: CliSettings, entries: Sequence[HostEntry], *, with_doctor: bool = False
) -> tuple[HostFacts, ...]:
    """Ask all; the slowest one decides how long it takes, and none longer than its limit.

    with_doctor: what runs there by SSH looks at its own machine as well.
    """
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(entry: HostEntry) -> HostFacts:
        async with gate:
            return await _host(settings, entry, with_doctor=with_doctor)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(entry)) for entry in entries]
    return tuple(task.result() for task in tasks)


async def _host(settings: CliSettings, entry: HostEntry, *, with_doctor: bool) -> HostFacts:
    reached = HostFacts(
        name=entry.name, way="ssh" if entry.ssh is not None else "http", version=own_version()
    )
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            if entry.ssh is None:
                await _by_http(entry)
                return reached
            return await _by_ssh(settings, entry, reached, with_doctor=with_doctor)
    except TimeoutError:
        text = f"{entry.name} did not answer within {_TIMEOUT_S:g} s"
        return replace(reached, refusal=Refusal(Code.TIMEOUT, text))
    except LlorchError as error:
        return replace(reached, refusal=error.refusal)


async def _by_ssh(
    settings: CliSettings, entry: HostEntry, reached: HostFacts, *, with_doctor: bool
) -> HostFacts:
    connection = await open_ssh(settings, entry)
    if isinstance(connection, Refusal):
        return replace(reached, refusal=connection)
    async with connection:
        answer = await ask_host(connection, entry, ("--version",))
        if isinstance(answer, Refusal):
            return replace(reached, refusal=answer)
        if answer.code != 0:
            refusal = Refusal(Code.INTERNAL, f"llorch-pool on {entry.name}: {answer.last_line}")
            return replace(reached, refusal=refusal)
        words = answer.out[:200].decode("utf-8", "replace").split()
        reached = replace(reached, their_version=words[-1] if words else None)
        seen = await ask_host(connection, entry, _DOCTOR) if with_doctor else None
    # An older one has no doctor; that it answers is worth more than what it cannot tell.
    if seen is None or isinstance(seen, Refusal):
        return reached
    return replace(reached, findings=read_findings(seen.out))


async def _by_http(entry: HostEntry) -> None:
    from orchestrator_core.clients.http import AsyncHttpCaller
    from orchestrator_core.clients.replies import Peer
    from orchestrator_core.clients.trust import Trust
    from orchestrator_core.contracts.control import Health

    peer = Peer("pool-managerd", str(entry.url), "llorch-pool daemon start")
    trust = Trust(entry.ca) if entry.ca else None
    async with AsyncHttpCaller(peer, None, timeout_s=_TIMEOUT_S, trust=trust) as caller:
        await caller.call("GET", "/health", Health)
