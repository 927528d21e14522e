"""The pool of this host without its daemon: this very process does what a daemon would.

Whoever calls status, workers, spawn, stop, stop_all or settle holds pool.lock meanwhile; the other
acts only look.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Final, TypeVar

from orchestrator_core.console.endings import Pace
from orchestrator_core.contracts.pool import (
    DeviceReport,
    Owner,
    PoolStatusView,
    SpawnRequest,
    StopRequest,
    WorkerReport,
    WorkerStatus,
)
from orchestrator_core.errors import Code, Refusal, error_for
from orchestrator_core.ids import PREFIX_WORKER, is_id
from orchestrator_core.platforms import select
from pool_core.catalog.host_models import HostModels
from pool_core.catalog.store.store import Store
from pool_core.devices.inventory import open_inventory
from pool_core.workers import logs
from pool_core.workers.host_settings import read_settings
from pool_core.workers.installation import (
    Installation,
    find_worker_program,
    pool_id_for,
    reserved_ports,
)
from pool_core.workers.onlooker import Onlooker
from pool_core.workers.readiness import Stage
from pool_ctl.pools import sitting
from pool_ctl.pools.external import look_at_externals
from pool_ctl.pools.faults import unusable
from pool_ctl.pools.sitting import Sitting
from pool_ctl.settings import CliSettings

__all__ = ["DirectPool"]

T = TypeVar("T")

_FIRST_ANSWER_S: Final = 60.0


class DirectPool:
    """Acts on the workers of this installation."""

    def __init__(
        self, settings: CliSettings, say: Callable[[str], None], pace: Pace | None = None
    ) -> None:
        self._say = say
        self._pace = pace or Pace()
        self._layout = settings.layout
        self._env = settings.daemon_env()
        self._platform = select.current()
        self._onlooker = Onlooker(self._layout, self._platform)

    @property
    def daemon_url(self) -> str | None:
        """There is no daemon."""
        return None

    @cached_property
    def _models(self) -> HostModels:
        folder = read_settings(self._layout, self._env).models_folder
        return HostModels(store=Store(folder or self._layout.models_folder, say=self._say))

    def status(self) -> PoolStatusView:
        """The pool at a glance; nobody links it to an orchestrator now."""
        return PoolStatusView(
            pool_id=pool_id_for(read_settings(self._layout, self._env).pool_id),
            version=metadata.version("llorch-pool-ctl"),
            session_id="",
            orchestrator_url=None,
            orchestrator_connected=False,
            draining=self._layout.pool_drain.exists(),
            devices=self.devices(),
            workers=self.workers(),
            models=self._models.reports(),
        )

    def devices(self) -> list[DeviceReport]:
        """What the host computes with, as the hardware says now."""
        with contextlib.closing(open_inventory()) as inventory:
            found = inventory.look()
            for probe, fault in inventory.faults().items():
                self._say(f"{probe}: {fault}")
        return found

    def workers(self) -> list[WorkerReport]:
        """All workers that an earlier act or a daemon has left, and the engines of others."""
        own = [report.without_key() for report in self._act(Sitting.all_explained)]
        external = look_at_externals(self._layout)
        for engine, fault in external.faults().items():
            self._say(f"{engine}: {fault}")
        return [*own, *external.reports()]

    def spawn(self, order: SpawnRequest) -> WorkerReport:
        """Start a worker that runs on without us."""

        async def spawned(here: Sitting) -> WorkerReport | Refusal:
            report = await here.supervisor.spawn(order, Owner.OPERATOR)
            if isinstance(report, Refusal) or report.pid is not None:
                return report
            # It could not even be launched, and that still has to be noted.
            return await here.verdict(report.id) or report

        return _accepted(self._act(spawned, program=self._worker_program()))

    def look(self, started: WorkerReport) -> WorkerReport | None:
        """What can be seen from outside; None when only a supervisor can tell more."""
        record = self._onlooker.find(started.id)
        if record is None or not (record.pid is None or self._onlooker.is_alive(record)):
            return None
        seen = asyncio.run(self._onlooker.ask(record, answer_s=_FIRST_ANSWER_S))
        if seen.stage is Stage.SILENT:
            return started
        if seen.stage is Stage.LOADING:
            return started.model_copy(update={"status": WorkerStatus.LOADING})
        return None

    def settle(self, started: WorkerReport) -> WorkerReport | None:
        """Have a supervisor take note of what has become of a worker that was starting."""
        report = self._act(lambda here: here.verdict(started.id))
        return report.without_key() if report else None

    def stop(self, worker: str, order: StopRequest) -> WorkerReport:
        """Stop a worker; returns when its process is gone."""
        grace_s = order.grace_s
        foreign = look_at_externals(self._layout).stop_refusal(worker)
        if foreign is not None:
            raise error_for(foreign)
        return _accepted(self._act(lambda here: here.supervisor.stop(worker, grace_s=grace_s)))

    def stop_all(self, grace_s: float) -> int:
        """Stop every worker; tells how many processes were ended."""
        return self._act(lambda here: here.supervisor.stop_all(grace_s))

    def logs(self, worker: str, *, tail: int, follow: bool) -> Iterator[str]:
        """Lines from the worker's own file, until the worker has ended."""
        path = self.log_path(worker)
        if path is None:
            text = f"no worker of this host is named {worker}"
            raise error_for(Refusal(Code.WORKER_NOT_FOUND, text))
        # A name may be given to another worker meanwhile; the file is called by the id.
        return self._follow(path, path.stem, tail) if follow else iter(logs.tail(path, tail))

    def log_path(self, worker: str) -> Path | None:
        """The log of a worker by id or name, of one that was cleared away by its id."""
        record = self._onlooker.find(worker)
        if record is None and not is_id(PREFIX_WORKER, worker):
            return None
        path = self._layout.worker_logs / f"{record.id if record else worker}.log"
        return path if path.is_file() else None

    def _follow(self, path: Path, worker_id: str, tail: int) -> Iterator[str]:
        reader = logs.LogReader(path, tail)
        while True:
            # Asked before the look, so that the last words of a worker are still read.
            record = self._onlooker.find(worker_id)
            has_ended = record is None or not self._onlooker.is_alive(record)
            while batch := reader.read():
                yield from batch
            if has_ended:
                yield from reader.rest()
                return
            self._pace.pause(logs.POLL_S)

    def _act(self, act: Callable[[Sitting], Awaitable[T]], program: Path | None = None) -> T:
        here = Installation(
            layout=self._layout,
            platform=self._platform,
            env=self._env,
            # Only a start needs the program: whoever stops a worker may have lost it.
            worker_program=program or Path(),
            reserved_ports=reserved_ports(self._layout, self._env),
        )
        try:
            return sitting.take(here, self._models, act)
        except OSError as error:
            raise unusable(self._layout, error) from error

    def _worker_program(self) -> Path:
        found = find_worker_program(read_settings(self._layout, self._env).worker_program)
        if isinstance(found, Refusal):
            raise error_for(found)
        return found


def _accepted(answer: WorkerReport | Refusal) -> WorkerReport:
    if isinstance(answer, Refusal):
        raise error_for(answer)
    return answer.without_key()
