"""Makes the daemon's parts and wires them: the only place that knows who talks to whom."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from orchestrator_core.catalog.resolve import Catalog
from orchestrator_core.clock import Clock
from orchestrator_core.idgen import IdSource
from orchestrator_core.scheduler.commands import Command
from orchestrator_core.scheduler.events import Event
from orchestrator_core.scheduler.machine import Machine
from orchestratord.api.edge import Edge
from orchestratord.api.gatekeeper import Gatekeeper
from orchestratord.app.handlers import Shop, hot_handlers, plain_handlers
from orchestratord.app.http import build_app
from orchestratord.runtime.call_record import RecentCalls
from orchestratord.runtime.durable_job import Journal
from orchestratord.runtime.flusher import Flusher
from orchestratord.runtime.keyring import KeyRing
from orchestratord.runtime.live import LiveJobs
from orchestratord.runtime.loop import Loop
from orchestratord.runtime.metrics import Metrics
from orchestratord.runtime.performer import Performer
from orchestratord.runtime.poolorders import PoolOrders
from orchestratord.runtime.usage_book import UsageBook
from orchestratord.runtime.workerbook import WorkerBook
from orchestratord.serving.event_readers import EventReaders
from orchestratord.serving.gate import Gate
from orchestratord.serving.open_calls import OpenCalls
from orchestratord.serving.outflow import FlowBudget
from orchestratord.serving.pumps import Pumps
from orchestratord.settings import OrchestratorSettings
from orchestratord.store.port import JobStore

__all__ = ["Parts", "build_parts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the daemon itself still has to touch."""

    app: Edge
    catalog: Catalog
    journal: Journal
    jobs: LiveJobs
    loop: Loop
    pumps: Pumps
    orders: PoolOrders
    readers: EventReaders
    open_calls: OpenCalls
    checks: tuple[Callable[[], None], ...]

    async def close(self) -> None:
        """Give no more orders, close every socket to workers and pools, write what is buffered."""
        self.loop.close()
        self.pumps.close()
        self.journal.flusher.flush()
        await self.orders.close()


class _Late:
    """Lets parts post to a loop that is made after them: the loop needs its performer first."""

    def __init__(self) -> None:
        self.loop: Loop | None = None
        self.performer: Performer | None = None

    def post(self, event: Event) -> None:
        if self.loop is not None:
            self.loop.post(event)

    def perform(self, command: Command) -> None:
        if self.performer is not None:
            self.performer.perform(command)


def build_parts(
    *,
    settings: OrchestratorSettings,
    version: str,
    hosts: Iterable[str],
    catalog: Catalog,
    store: JobStore,
    keys: KeyRing,
    clock: Clock,
    ids: IdSource,
    tasks: asyncio.TaskGroup,
    draw_bits: Callable[[int], int],
    is_stopping: Callable[[], bool],
    on_failure: Callable[[BaseException], None],
) -> Parts:
    """Wire one daemon."""
    late = _Late()
    now = clock.monotonic_s
    jobs, book, calls = LiveJobs(), WorkerBook(), RecentCalls(clock)
    machine = Machine(nonce=draw_bits(64), epoch_ms=clock.unix_ms() - int(now() * 1000))
    loop = Loop(machine, clock=clock, perform=late.perform, on_failure=on_failure)
    pumps = Pumps(jobs=jobs, book=book, clock=clock, settings=settings, tasks=tasks, post=late.post)
    orders = PoolOrders(clock=clock, tasks=tasks, post=late.post)
    open_calls = OpenCalls(now=now, post=late.post)
    readers = EventReaders(
        store=store,
        jobs=jobs,
        clock=clock,
        keepalive_s=settings.keepalive_s,
        slow_reader_s=settings.slow_reader_s,
    )
    metrics = Metrics(_gauges(machine, jobs, pumps, readers, open_calls))
    late.loop = loop
    late.performer = Performer(jobs=jobs, attempts=pumps, orders=orders, on_finish=metrics.finished)
    journal = Journal(
        store=store,
        book=book,
        clock=clock,
        flusher=Flusher(),
        forget=jobs.drop,
        on_failure=on_failure,
    )
    gate = Gate(
        catalog=catalog,
        settings=settings,
        clock=clock,
        ids=ids,
        draw_bits=draw_bits,
        jobs=jobs,
        journal=journal,
        calls=calls,
        usage=UsageBook(store, journal.flusher, on_failure),
        loop=loop,
        budget=FlowBudget(),
        is_closed=is_stopping,
        fingerprint=f"llorch-{version}",
    )
    shop = Shop(
        gate=gate,
        catalog=catalog,
        store=store,
        jobs=jobs,
        calls=calls,
        book=book,
        loop=loop,
        orders=orders,
        readers=readers,
        open_calls=open_calls,
        registry=metrics.registry,
        clock=clock,
        settings=settings,
        version=version,
        is_stopping=is_stopping,
    )
    app = build_app(
        gatekeeper=Gatekeeper(keys, hosts), hot=hot_handlers(shop), plain=plain_handlers(shop)
    )
    return Parts(
        app=app,
        catalog=catalog,
        journal=journal,
        jobs=jobs,
        loop=loop,
        pumps=pumps,
        orders=orders,
        readers=readers,
        open_calls=open_calls,
        checks=(pumps.sweep, open_calls.sweep, readers.sweep, calls.forget_old),
    )


def _gauges(
    machine: Machine, jobs: LiveJobs, pumps: Pumps, readers: EventReaders, open_calls: OpenCalls
) -> Callable[[], Mapping[str, tuple[str, float]]]:
    def read() -> Mapping[str, tuple[str, float]]:
        return {
            "orchd_queue_depth": ("Jobs that wait for a worker", machine.waiting),
            "orchd_jobs_live": ("Jobs that have not ended", len(jobs)),
            "orchd_worker_connections_active": ("Open sockets to workers", len(pumps)),
            "orchd_event_streams_open": ("Open readers of job events", len(readers)),
            "orchd_calls_open": ("Open calls of the OpenAI API", len(open_calls)),
            "orchd_late_facts": ("Facts that came too late to matter", machine.late_facts),
        }

    return read
