"""What this host is right now: the facts the API shows, and what happens when they change."""

import asyncio
from dataclasses import dataclass, field
from typing import Final

import structlog

from orchestrator_core.contracts.pool import PoolStatusView, WorkerReport
from pool_managerd.runtime.announcer import Announcer, Identity, NoLink
from pool_managerd.runtime.downloads import Downloads
from pool_managerd.runtime.drain import Draining, DrainSwitch
from pool_managerd.runtime.joining import JoinDesk
from pool_managerd.runtime.metrics import PoolMetrics
from pool_managerd.runtime.model_desk import ModelDesk
from pool_managerd.runtime.outgoing import Outgoing
from pool_managerd.runtime.ports import Devices, Models, Workers
from pool_managerd.runtime.session import SessionDesk
from pool_managerd.runtime.tally import Happening, Picture, WorkerEvent, compare, pictures

__all__ = ["ChangeDesk", "Pool"]

_log: Final = structlog.stdlib.get_logger()


@dataclass(frozen=True, slots=True)
class Pool:
    """The parts of a running pool, as the API reads them."""

    identity: Identity
    instance: str
    stop_grace_s: float
    workers: Workers
    devices: Devices
    models: Models
    announcer: Announcer | NoLink
    metrics: PoolMetrics
    drain: DrainSwitch
    desk: ModelDesk
    downloads: Downloads
    joining: JoinDesk
    session: SessionDesk = field(default_factory=SessionDesk)
    outgoing: Outgoing | None = None
    """What other pools may copy; None where nothing is shared."""

    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the daemon begins to stop, so that open streams end by themselves."""

    def begin_stop(self) -> None:
        """Let open streams end and cancel what is done about models."""
        self.stopping.set()
        self.session.close("pool-managerd is stopping")
        self.downloads.begin_stop()
        self.desk.begin_stop()
        if self.outgoing is not None:
            self.outgoing.begin_stop()

    def worker_reports(self) -> list[WorkerReport]:
        """All workers for eyes that must not see their keys."""
        return [report.without_key() for report in self.workers.reports()]

    def status(self) -> PoolStatusView:
        """The pool's own summary."""
        link = self.announcer.view
        return PoolStatusView(
            pool_id=self.identity.pool_id,
            version=self.identity.version,
            session_id=link.session_id,
            orchestrator_url=link.url,
            orchestrator_connected=link.connected,
            draining=self.drain.active,
            devices=self.devices.reports(),
            workers=self.worker_reports(),
            models=self.models.reports(),
        )


class ChangeDesk:
    """Hears that workers, devices or models changed; logs, counts and tells the orchestrator.

    It is made before the parts that report to it, which is why it learns of them later.
    """

    def __init__(self, metrics: PoolMetrics) -> None:
        self._metrics = metrics
        self._drain: Draining | None = None
        self._workers: Workers | None = None
        self._announcer: Announcer | NoLink = NoLink()
        self._before: Picture = {}
        self._adopted = False

    def connect(self, workers: Workers, announcer: Announcer | NoLink, drain: Draining) -> None:
        """Learn whom to ask and whom to tell."""
        self._drain = drain
        self._workers = workers
        self._announcer = announcer
        self._before = pictures(workers.reports())
        self._adopted = workers.adopted.is_set()

    def workers_changed(self) -> None:
        """Compare with the last picture, then pass the news on."""
        if self._workers is not None:
            after = pictures(self._workers.reports())
            # What is found at the start was started by an earlier daemon and counted there.
            events = compare(self._before, after) if self._adopted else []
            for event in events:
                self._metrics.count(
                    event, is_draining=self._drain is not None and self._drain.active
                )
                _log_event(event)
            self._before = after
            self._adopted = self._workers.adopted.is_set()
        self._announcer.poke()

    def devices_changed(self) -> None:
        """Pass the news on."""
        self._announcer.poke()

    def models_changed(self) -> None:
        """Pass the news on."""
        self._announcer.poke()

    def drain_changed(self) -> None:
        """Pass the news on."""
        self._announcer.poke()


_LOUD: Final = frozenset({Happening.START_FAILED, Happening.CRASHED})


def _log_event(event: WorkerEvent) -> None:
    worker = event.worker
    tell = _log.warning if event.happening in _LOUD else _log.info
    tell(
        f"worker.{event.happening.value}",
        worker_id=worker.id,
        name=worker.name,
        model=worker.model,
        pid=worker.pid,
        port=worker.port,
        owner=worker.owner.value,
        error_code=worker.error_code,
        error=worker.error_message,
    )
