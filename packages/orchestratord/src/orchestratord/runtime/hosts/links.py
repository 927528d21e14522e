"""All links to hosts: one for each enrolment that names SSH, made and ended with it."""

import asyncio
import contextvars
from typing import TYPE_CHECKING

from orchestrator_core.ids import PoolId
from orchestratord.runtime.hosts.course import LinkView
from orchestratord.runtime.hosts.link import Link, Surroundings
from orchestratord.store.rows import PoolRow

if TYPE_CHECKING:
    from orchestrator_core.clients.ssh.connection import SshConnection

__all__ = ["Links"]


class Links:
    """Owns one task per link."""

    def __init__(self, around: Surroundings, tasks: asyncio.TaskGroup) -> None:
        self._around = around
        self._tasks = tasks
        self._links: dict[PoolId, Link] = {}
        self._running: dict[PoolId, asyncio.Task[None]] = {}
        self._is_open = False

    def open(self) -> None:
        """Connect to every enrolled host, and follow the enrolments from here on."""
        self._is_open = True
        self._around.enrolments.listen(self._follow)
        for row in self._around.enrolments.rows():
            self._follow(row.id)

    async def close(self) -> None:
        """End all links: the daemon stops."""
        self._is_open = False
        running = list(self._running.values())
        self._links.clear()
        self._running.clear()
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)

    def view(self, pool_id: PoolId) -> LinkView | None:
        """How the link to a pool's host is; None where there is none."""
        link = self._links.get(pool_id)
        return None if link is None else link.view

    def connection(self, pool_id: PoolId) -> "SshConnection | None":
        """The connection to a pool's host, while there is one."""
        link = self._links.get(pool_id)
        return None if link is None else link.connection

    def _follow(self, pool_id: PoolId) -> None:
        row = self._around.enrolments.row(pool_id)
        if not self._is_open:
            return
        if row is None or not _is_ssh(row):
            self._links.pop(pool_id, None)
            stale = self._running.pop(pool_id, None)
            if stale is not None:
                stale.cancel()
        elif pool_id in self._links:
            self._links[pool_id].change(row)
        else:
            link = self._links[pool_id] = Link(row, self._around)
            # Whoever enrols is done soon: the link's log lines are none of that request's.
            self._running[pool_id] = self._tasks.create_task(
                link.run(), name=f"link {pool_id}", context=contextvars.Context()
            )


def _is_ssh(row: PoolRow) -> bool:
    return row.endpoint is not None and row.endpoint.startswith("ssh://")
