"""Asks many hosts at once how they are, over SSH: a few at a time, none for long."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

from llorch_ctl.hosts.entries import HostEntry
from llorch_ctl.hosts.remote import ask_host
from llorch_ctl.hosts.ways import open_ssh
from llorch_ctl.settings import CliSettings
from orchestrator_core.errors import Code, Refusal

__all__ = ["HostWord", "ask_hosts"]

_AT_ONCE: Final = 8
_EACH_TIMEOUT_S: Final = 15.0
_STATUS: Final = ("status", "--format", "json", "--quiet")


@dataclass(frozen=True, slots=True)
class HostWord:
    """What a host said of itself, as JSON told it, or why it said nothing."""

    entry: HostEntry
    status: Mapping[str, object] | Refusal


async def ask_hosts(settings: CliSettings, entries: Sequence[HostEntry]) -> list[HostWord]:
    """Ask each host for its status; the answers come in the order of the hosts."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def ask(entry: HostEntry) -> HostWord:
        async with gate:
            return HostWord(entry, await _status_of(settings, entry))

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(ask(entry)) for entry in entries]
    return [task.result() for task in tasks]


async def _status_of(settings: CliSettings, entry: HostEntry) -> Mapping[str, object] | Refusal:
    try:
        async with asyncio.timeout(_EACH_TIMEOUT_S):
            connection = await open_ssh(settings, entry)
            if isinstance(connection, Refusal):
                return connection
            async with connection:
                answer = await ask_host(connection, entry, _STATUS)
    except TimeoutError:
        line = f"{entry.name} did not answer within {_EACH_TIMEOUT_S:g} s"
        return Refusal(Code.TIMEOUT, line)
    if isinstance(answer, Refusal):
        return answer
    if answer.code != 0:
        return Refusal(Code.UNREACHABLE, f"llorch-pool status failed: {answer.last_line}")
    try:
        told: object = json.loads(answer.out)
    except ValueError:
        told = None
    if not isinstance(told, dict):
        return Refusal(Code.DATA_CORRUPT, "llorch-pool status did not say how it is")
    return cast("dict[str, object]", told)
