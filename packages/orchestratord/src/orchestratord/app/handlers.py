"""Makes the function of every key in the route table out of the daemon's parts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from orchestrator_core.catalog.resolve import Catalog
from orchestrator_core.clock import Clock
from orchestratord.api.control.enrolment import EnrolmentHandlers
from orchestratord.api.control.health import HealthHandlers
from orchestratord.api.control.joining import JoinHandlers
from orchestratord.api.control.keys import KeyHandlers
from orchestratord.api.control.plane import PlainHandler
from orchestratord.api.control.pool_views import LinkTo
from orchestratord.api.control.pools import PoolHandlers
from orchestratord.api.control.tasks import TaskHandlers
from orchestratord.api.control.usage import UsageHandlers
from orchestratord.api.edge import HotHandler
from orchestratord.api.hot.chat import ChatHandler
from orchestratord.api.hot.events import EventsHandler
from orchestratord.api.hot.models import ModelHandlers
from orchestratord.api.hot.submit import SubmitHandler
from orchestratord.api.openapi import openapi_document
from orchestratord.routes import ROUTES
from orchestratord.runtime.enrolling import EnrolDesk
from orchestratord.runtime.enrolments import Enrolments
from orchestratord.runtime.jobs.call_record import RecentCalls
from orchestratord.runtime.jobs.live import LiveJobs
from orchestratord.runtime.joining import JoinDesk
from orchestratord.runtime.keys.denials import Denials
from orchestratord.runtime.keys.key_desk import KeyDesk
from orchestratord.runtime.keys.keyring import KeyRing
from orchestratord.runtime.loop import Loop
from orchestratord.runtime.pooldesk import PoolDesk
from orchestratord.runtime.poolorders import PoolOrders
from orchestratord.runtime.ssh_identity import SshIdentities
from orchestratord.runtime.upkeep.usage_book import UsageBook
from orchestratord.runtime.workerbook import WorkerBook
from orchestratord.serving.admission.allow_list import listed_id
from orchestratord.serving.admission.offers import Offers
from orchestratord.serving.answers.event_readers import EventReaders
from orchestratord.serving.answers.open_calls import OpenCalls
from orchestratord.serving.gate import Gate
from orchestratord.settings import OrchestratorSettings
from orchestratord.store.port import JobStore

__all__ = ["Shop", "hot_handlers", "plain_handlers"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """What handlers work with."""

    gate: Gate
    catalog: Catalog
    store: JobStore
    jobs: LiveJobs
    calls: RecentCalls
    book: WorkerBook
    loop: Loop
    orders: PoolOrders
    pool_desk: PoolDesk
    join_desk: JoinDesk
    enrol_desk: EnrolDesk
    enrolments: Enrolments
    link_to: LinkTo
    identities: SshIdentities
    denials: Denials
    readers: EventReaders
    open_calls: OpenCalls
    registry: CollectorRegistry
    keys: KeyRing
    key_desk: KeyDesk
    usage: UsageBook
    clock: Clock
    settings: OrchestratorSettings
    version: str
    is_stopping: Callable[[], bool]


def hot_handlers(shop: Shop) -> Mapping[str, HotHandler]:
    """The raw ASGI handlers."""
    models = ModelHandlers(
        catalog=shop.catalog,
        book=shop.book,
        loop=shop.loop,
        started_at_ms=shop.clock.unix_ms(),
    )
    return {
        "openai.chat": ChatHandler(
            gate=shop.gate,
            loop=shop.loop,
            open_calls=shop.open_calls,
            headers_after_s=shop.settings.headers_after_s,
        ),
        "openai.models": models.show_all,
        "openai.model": models.show,
        "tasks.submit": SubmitHandler(shop.gate),
        "tasks.events": EventsHandler(
            store=shop.store, readers=shop.readers, loop=shop.loop, clock=shop.clock
        ),
    }


def plain_handlers(shop: Shop) -> Mapping[str, PlainHandler]:
    """The FastAPI handlers."""
    stored = TaskHandlers(
        store=shop.store, jobs=shop.jobs, calls=shop.calls, loop=shop.loop, clock=shop.clock
    )
    pools = PoolHandlers(
        loop=shop.loop,
        desk=shop.pool_desk,
        orders=shop.orders,
        enrolments=shop.enrolments,
        link_to=shop.link_to,
        now=shop.clock.monotonic_s,
    )
    joining = JoinHandlers(desk=shop.join_desk, denials=shop.denials)
    enrolment = EnrolmentHandlers(
        desk=shop.enrol_desk, link_to=shop.link_to, identity=shop.identities.show
    )
    offers = Offers(shop.catalog, shop.book, lambda: shop.loop.machine.held_models)
    keys = KeyHandlers(
        desk=shop.key_desk, keys=shop.keys, model_id=lambda name: listed_id(offers, name)
    )
    usage = UsageHandlers(store=shop.store, book=shop.usage, keys=shop.keys, clock=shop.clock)
    health = HealthHandlers(
        why_not_ready=lambda: _why_not_ready(shop),
        registry=shop.registry,
        document=lambda: openapi_document(ROUTES, shop.version),
        unix_ms=shop.clock.unix_ms,
    )
    return {
        "tasks.list": stored.show_page,
        "tasks.show": stored.show,
        "tasks.delete": stored.cancel,
        "tasks.cancel": stored.cancel,
        "pools.list": pools.show_all,
        "pools.show": pools.show,
        "pools.enrol": enrolment.enrol,
        "pools.remove": enrolment.remove,
        "pools.ssh_identity": enrolment.ssh_identity,
        "pools.issue_token": joining.issue,
        "pools.join": joining.join,
        "pools.drain": pools.drain,
        "pools.resume": pools.resume,
        "pools.spawn": pools.spawn,
        "pools.register": pools.register,
        "pools.heartbeat": pools.heartbeat,
        "workers.list": pools.list_workers,
        "workers.stop": pools.stop_worker,
        "keys.create": keys.create,
        "keys.list": keys.show_all,
        "keys.revoke": keys.revoke,
        "usage.list": usage.show,
        "health.live": health.live,
        "health.ready": health.ready,
        "health.metrics": health.metrics,
        "health.openapi": health.openapi,
        "health.root": health.root,
    }


def _why_not_ready(shop: Shop) -> tuple[str, ...]:
    reasons: list[str] = []
    if shop.is_stopping():
        reasons.append("stopping")
    if shop.store.failed is not None:
        reasons.append("the store takes no writes")
    if shop.store.low_on_space is not None:
        reasons.append("the disk under the store is short of space")
    if shop.loop.failure is not None:
        reasons.append("the scheduler has stopped")
    return tuple(reasons)
