"""Makes the daemon's parts and wires them: the only place that knows who talks to whom."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from orchestrator_core.catalog.resolve import Catalog
from orchestrator_core.clock import Clock
from orchestrator_core.idgen import IdSource
from orchestrator_core.ids import JobId
from orchestrator_core.scheduler.commands import Command, PersistRequeued
from orchestrator_core.scheduler.events import Event
from orchestrator_core.scheduler.limits import MachineLimits
from orchestrator_core.scheduler.machine import Machine
from orchestratord.api.edge import Edge
from orchestratord.api.gatekeeper import Gatekeeper
from orchestratord.app.enrolled import Enrolled
from orchestratord.app.handlers import Shop, hot_handlers, plain_handlers
from orchestratord.app.http import build_app
from orchestratord.app.pool_parts import PoolParts
from orchestratord.runtime.flusher import Flusher
from orchestratord.runtime.hosts.links import Links
from orchestratord.runtime.jobs.call_record import RecentCalls
from orchestratord.runtime.jobs.durable_job import Journal
from orchestratord.runtime.jobs.live import LiveJobs
from orchestratord.runtime.jobs.parting_logs import PartingLogs
from orchestratord.runtime.keys.denials import Denials
from orchestratord.runtime.keys.key_desk import KeyDesk
from orchestratord.runtime.keys.key_use import KeyUse
from orchestratord.runtime.keys.keyring import KeyRing
from orchestratord.runtime.keys.quotas import Quotas
from orchestratord.runtime.loop import Loop
from orchestratord.runtime.performer import Performer
from orchestratord.runtime.pooldesk import PoolDesk
from orchestratord.runtime.poolorders import PoolOrders
from orchestratord.runtime.upkeep.metrics import LoopLag, Metrics, job_ages, store_gauges
from orchestratord.runtime.upkeep.usage_book import UsageBook
from orchestratord.serving.admission.ledger import Ledger, QueueBounds
from orchestratord.serving.admission.twins import Claims
from orchestratord.serving.answers.event_readers import EventReaders
from orchestratord.serving.answers.open_calls import OpenCalls
from orchestratord.serving.answers.outflow import FlowBudget
from orchestratord.serving.attempts.pumps import Pumps
from orchestratord.serving.gate import Gate
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
    ledger: Ledger
    loop: Loop
    pumps: Pumps
    orders: PoolOrders
    links: Links
    pool_desk: PoolDesk
    readers: EventReaders
    open_calls: OpenCalls
    key_use: KeyUse
    checks: tuple[Callable[[], None], ...]

    async def close(self) -> None:
        """Give no more orders, close every socket to workers and pools, write what is buffered."""
        self.loop.close()
        self.pumps.close()
        self.journal.flusher.flush()
        self.key_use.flush()
        await self.links.close()
        await self.orders.close()


class _Late:
    """Lets parts post to a loop that is made after them: the loop needs its performer first."""

    def __init__(self) -> None:
        self.loop: Loop | None = None
        self.performer: Performer | None = None
        self.metrics: Metrics | None = None

    def post(self, event: Event) -> None:
        if self.loop is not None:
            self.loop.post(event)

    def perform(self, command: Command) -> None:
        if self.performer is not None:
            self.performer.perform(command)
        if self.metrics is not None and isinstance(command, PersistRequeued):
            self.metrics.broken(command)


def build_parts(
    *,
    settings: OrchestratorSettings,
    version: str,
    hosts: Iterable[str],
    catalog: Catalog,
    store: JobStore,
    keys: KeyRing,
    enrolled: Enrolled,
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
    pools = PoolParts(enrolled=enrolled, clock=clock, tasks=tasks, post=late.post)
    jobs, book, calls = LiveJobs(), pools.book, RecentCalls(clock)
    machine = Machine(
        nonce=draw_bits(64),
        epoch_ms=clock.unix_ms() - int(now() * 1000),
        limits=_machine_limits(settings),
    )
    loop = Loop(machine, clock=clock, perform=late.perform, on_failure=on_failure)
    pumps = Pumps(
        jobs=jobs,
        book=book,
        clock=clock,
        settings=settings,
        tasks=tasks,
        post=late.post,
        slots_of=_slots_of(machine),
    )
    orders = pools.orders
    open_calls = OpenCalls(now=now, post=late.post, holds=keys.holds)
    partings = PartingLogs(now)
    readers = EventReaders(
        partings=partings,
        store=store,
        jobs=jobs,
        clock=clock,
        keepalive_s=settings.keepalive_s,
        slow_reader_s=settings.slow_reader_s,
        holds=keys.holds,
    )
    ledger, claims = Ledger(_bounds(settings)), Claims()
    metrics = Metrics(_gauges(machine, jobs, pumps, readers, open_calls, ledger, claims))
    late.loop = loop
    lag = LoopLag(now)
    metrics.watch(lambda: {**store_gauges(store), **job_ages(machine, now()), **lag.gauges()})
    late.metrics = metrics
    late.performer = Performer(jobs=jobs, attempts=pumps, orders=orders, on_finish=metrics.finished)
    journal = Journal(
        store=store,
        book=book,
        clock=clock,
        flusher=Flusher(),
        forget=jobs.drop,
        on_failure=on_failure,
        retain_prompts=settings.retain_prompts,
        partings=partings,
    )
    quotas, usage = Quotas(), UsageBook(store, journal.flusher, on_failure)
    key_use = KeyUse(keys=keys, store=store, now=now, on_failure=on_failure)
    gate = Gate(
        ledger=ledger,
        quotas=quotas,
        claims=claims,
        holds=keys.holds,
        catalog=catalog,
        settings=settings,
        clock=clock,
        ids=ids,
        draw_bits=draw_bits,
        jobs=jobs,
        journal=journal,
        calls=calls,
        usage=usage,
        loop=loop,
        budget=FlowBudget(),
        is_closed=is_stopping,
        fingerprint=f"llorch-{version}",
    )
    desk = pools.pool_desk(
        loop, version=version, heartbeat_interval_s=settings.heartbeat_interval_s
    )
    joins = pools.join_desk(desk, store=store, ids=ids, version=version)
    links = pools.links(desk, draw_bits)
    denials = Denials(
        registry=metrics.registry,
        now=now,
        wrong_keys_per_minute=settings.wrong_keys_per_minute,
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
        pool_desk=desk,
        join_desk=joins,
        enrol_desk=pools.enrol_desk(desk, joins, loop),
        enrolments=pools.enrolments,
        link_to=links.view,
        identities=pools.identities,
        denials=denials,
        readers=readers,
        open_calls=open_calls,
        registry=metrics.registry,
        keys=keys,
        key_desk=KeyDesk(keys=keys, store=store, clock=clock, ids=ids, quotas=quotas),
        usage=usage,
        clock=clock,
        settings=settings,
        version=version,
        is_stopping=is_stopping,
    )
    app = build_app(
        gatekeeper=Gatekeeper(keys, hosts),
        denials=denials,
        hot=hot_handlers(shop),
        plain=plain_handlers(shop),
    )
    return Parts(
        app=app,
        catalog=catalog,
        journal=journal,
        jobs=jobs,
        ledger=ledger,
        loop=loop,
        pumps=pumps,
        orders=orders,
        links=links,
        pool_desk=desk,
        readers=readers,
        open_calls=open_calls,
        key_use=key_use,
        checks=(
            lag.look,
            pumps.sweep,
            open_calls.sweep,
            readers.sweep,
            calls.forget_old,
            key_use.sweep,
            partings.sweep,
        ),
    )


def _slots_of(machine: Machine) -> Callable[[JobId], int]:
    def read(job_id: JobId) -> int:
        job = machine.state.jobs.get(job_id)
        return 1 if job is None else job.facts.slots

    return read


def _bounds(settings: OrchestratorSettings) -> QueueBounds:
    return QueueBounds(
        jobs=settings.queue_limit,
        size_bytes=settings.queue_bytes_limit,
        jobs_of_key=settings.key_queue_limit,
        jobs_of_model=settings.model_queue_limit,
    )


def _gauges(
    machine: Machine,
    jobs: LiveJobs,
    pumps: Pumps,
    readers: EventReaders,
    open_calls: OpenCalls,
    ledger: Ledger,
    claims: Claims,
) -> Callable[[], Mapping[str, tuple[str, float]]]:
    def read() -> Mapping[str, tuple[str, float]]:
        return {
            "orchd_queue_depth": ("Jobs that wait for a worker", machine.waiting),
            "orchd_jobs_live": ("Jobs that have not ended", len(jobs)),
            "orchd_queue_bytes": ("Bytes of the requests of live jobs", ledger.size_bytes),
            "orchd_duplicate_idempotent_total": (
                "Submissions that were answered with the job of an earlier one",
                claims.replays,
            ),
            "orchd_worker_connections_active": ("Open sockets to workers", len(pumps)),
            "orchd_event_streams_open": ("Open readers of job events", len(readers)),
            "orchd_calls_open": ("Open calls of the OpenAI API", len(open_calls)),
            "orchd_cancel_unconfirmed_total": (
                "Cut attempts whose worker was not seen to let go of them",
                pumps.watch.unconfirmed,
            ),
            "orchd_slots_awaited": ("Cut attempts not yet seen idle", len(pumps.watch)),
            "orchd_sse_gap_total": ("Gaps told to readers of job events", readers.gaps),
            "orchd_sse_dropped_slow_total": (
                "Clients that were dropped because they did not read",
                readers.dropped_slow + open_calls.dropped_slow,
            ),
            "orchd_late_facts": ("Facts that came too late to matter", machine.late_facts),
        }

    return read


def _machine_limits(settings: OrchestratorSettings) -> MachineLimits:
    return MachineLimits(
        queue_timeout_s=settings.queue_timeout_s,
        load_timeout_s=settings.load_timeout_s,
        attempt_timeout_s=settings.attempt_timeout_s,
        total_timeout_s=settings.total_timeout_s,
    )
