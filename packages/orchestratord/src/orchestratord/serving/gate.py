"""The one gate in front of the queue: every API's request passes here and becomes a live job.

The desk decides whether there is room for it; here it gets its row, its live job and its place in
the machine. A durable job is on disk before anybody hears that it was accepted.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from orchestrator_core.catalog.resolve import Catalog
from orchestrator_core.clock import Clock
from orchestrator_core.cluster.workers import ServiceKey
from orchestrator_core.contracts.openai import ChatRequest
from orchestrator_core.contracts.tasks import JobStatus, TaskAccepted, TaskKind, TaskSubmit
from orchestrator_core.errors import Code, DataError, Refusal
from orchestrator_core.idgen import IdSource
from orchestrator_core.ids import KeyId, PoolId
from orchestrator_core.scheduler.events import JobArrived
from orchestratord.runtime.jobs.call_record import CallRecord, RecentCalls
from orchestratord.runtime.jobs.durable_job import DurableJob, Journal
from orchestratord.runtime.jobs.live import LiveJobs
from orchestratord.runtime.keys.keyring import KEY_ENDED, Principal
from orchestratord.runtime.keys.quotas import Quotas
from orchestratord.runtime.loop import Loop
from orchestratord.runtime.upkeep.usage_book import UsageBook
from orchestratord.serving.admission.classes import class_of
from orchestratord.serving.admission.desk import Desk, Wish
from orchestratord.serving.admission.ledger import Ledger
from orchestratord.serving.admission.manners import Manners
from orchestratord.serving.admission.offers import Offer, Offers
from orchestratord.serving.admission.records import (
    Envelope,
    Ticket,
    accepted,
    arrival_of,
    identity_of,
    queued_event,
    row_of,
    words_of,
)
from orchestratord.serving.admission.token_counts import TokenCounts
from orchestratord.serving.admission.twins import Claims, mismatch
from orchestratord.serving.answers.chat_call import ChatCall
from orchestratord.serving.answers.outflow import FlowBudget, OutFlow
from orchestratord.serving.attempts.wording import chat_wording, task_wording
from orchestratord.settings import OrchestratorSettings
from orchestratord.store.writes import AdmitJob

__all__ = ["Admitted", "Gate"]

# When this process is back is not known to it.
_STOPPING: Final = Refusal(
    Code.DRAINING, "the orchestrator is stopping: try again once it is back", retry_after_s=5
)
_SEED_BITS: Final = 31


class Admitted(NamedTuple):
    """The answer to a submission, and whether an earlier one has already had it."""

    accepted: TaskAccepted
    replayed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Admission; its parts are wired once by the composition root."""

    catalog: Catalog
    settings: OrchestratorSettings
    clock: Clock
    ids: IdSource
    draw_bits: Callable[[int], int]
    jobs: LiveJobs
    journal: Journal
    calls: RecentCalls
    usage: UsageBook
    loop: Loop
    budget: FlowBudget
    ledger: Ledger
    quotas: Quotas
    claims: Claims
    holds: Callable[[KeyId], bool]
    is_closed: Callable[[], bool]
    fingerprint: str
    _desk: Desk = field(init=False)
    _manners: Manners = field(init=False)

    def __post_init__(self) -> None:
        self.jobs.tell_drops(self.ledger.leave)
        object.__setattr__(self, "_desk", self._make_desk())
        object.__setattr__(self, "_manners", Manners(self.settings, self.fingerprint))

    def _make_desk(self) -> Desk:
        book = self.journal.book
        return Desk(
            loop=self.loop,
            offers=Offers(self.catalog, book, lambda: self.loop.machine.held_models),
            ledger=self.ledger,
            quotas=self.quotas,
            counts=TokenCounts(book),
            load_waiters_limit=self.settings.load_waiters_limit,
        )

    async def admit_task(
        self, holder: Principal, task: TaskSubmit, envelope: Envelope
    ) -> Admitted | Refusal:
        """Take a durable job in: on disk first, then to the machine, then the answer."""
        if not self.holds(holder.key_id):
            return KEY_ENDED
        ticket = envelope.ticket
        if ticket is None:
            return await self._admit_once(holder, task, envelope)
        async with self.claims.only(holder.key_id, ticket.key):
            first = await self._first_of(holder, ticket)
            return first or await self._admit_once(holder, task, envelope)

    async def _first_of(self, holder: Principal, ticket: Ticket) -> Admitted | Refusal | None:
        """What the first submission with this key has got; None: this is the first one."""
        row = await self.journal.store.job_of(holder.key_id, ticket.key)
        if row is None:
            return None
        if row.idempotency_hash != ticket.digest:
            return mismatch()
        self.claims.replays += 1
        position = self.loop.machine.position(row.id) or 0
        return Admitted(accepted(row.id, row.status, position), replayed=True)

    async def _admit_once(
        self, holder: Principal, task: TaskSubmit, envelope: Envelope
    ) -> Admitted | Refusal:
        refusal = _STOPPING if self.is_closed() else self.journal.store.low_on_space
        offer = refusal or self._desk.find(holder, task.model)
        if isinstance(offer, Refusal):
            return offer
        seed = task.seed if task.seed is not None else self.draw_bits(_SEED_BITS)
        wish = Wish(
            job_id=self.ids.job(),
            holder=holder,
            offer=offer,
            words=words_of(task, seed),
            size_bytes=envelope.size_bytes,
            priority=class_of(holder.priority, task.priority, envelope.asked),
            pin=PoolId(task.pin.pool) if task.pin and task.pin.pool else None,
            deadline_s=task.deadline_ms / 1000 if task.deadline_ms else None,
        )
        refusal = await self._desk.admit(wish)
        if refusal is not None:
            return refusal
        ticket = envelope.ticket
        try:
            return await self._store(wish, task, seed, ticket)
        except DataError as problem:
            if ticket is None or problem.code is not Code.CONFLICT:
                raise
            # An admission that was given up has come to an end after all.
            first = await self._first_of(holder, ticket)
            if first is None:
                raise
            return first

    async def _store(
        self, wish: Wish, task: TaskSubmit, seed: int, ticket: Ticket | None
    ) -> Admitted:
        position = self.loop.machine.depth(ServiceKey(wish.offer.model, TaskKind.GENERATE)) + 1
        try:
            written = self._hand_in(wish, task, seed, ticket, position)
        except BaseException:
            self._give_up(wish)
            raise
        await asyncio.shield(written)
        return Admitted(accepted(wish.job_id, JobStatus.QUEUED, position))

    def _give_up(self, wish: Wish) -> None:
        """Leave nothing of a request that came to no job."""
        self.jobs.drop(wish.job_id)
        self.ledger.leave(wish.job_id)

    def _hand_in(
        self, wish: Wish, task: TaskSubmit, seed: int, ticket: Ticket | None, position: int
    ) -> asyncio.Future[int]:
        """Give the row to the store; once it is on disk the machine hears of the job."""
        now_ms = self.clock.unix_ms()
        new = row_of(wish, task, seed=seed, ticket=ticket, created_at_ms=now_ms)
        queued = queued_event(new.id, position)
        max_tokens = self.settings.default_max_tokens
        job = DurableJob(
            identity_of(new),
            journal=self.journal,
            word=task_wording(wish.words, wish.offer.sampling, max_tokens),
            last_seq=0,
            attempted=False,
        )

        def settle(written: asyncio.Future[int]) -> None:
            if written.cancelled() or written.exception() is not None:
                self.jobs.drop(job.id)
                return
            job.admitted(queued)
            now = self.loop.now()
            self.loop.post(JobArrived(at=now, job=arrival_of(wish, now, durable=True)))

        self.jobs.add(job)
        written = self.journal.store.submit(AdmitJob(new, queued))
        # What is on disk is queued, also when nobody waits any more for the word that it is.
        written.add_done_callback(settle)
        return written

    async def admit_chat(
        self, holder: Principal, request: ChatRequest, envelope: Envelope
    ) -> ChatCall | Refusal:
        """Take a call in that lives as long as its connection."""
        if not self.holds(holder.key_id):
            return KEY_ENDED
        offer = _STOPPING if self.is_closed() else self._desk.find(holder, request.model)
        if isinstance(offer, Refusal):
            return offer
        slots = request.n or 1
        if slots > offer.slots:
            message = f"n is {slots}, but a worker of {offer.model} has {offer.slots} slots"
            return Refusal(Code.INVALID_REQUEST, message, {"param": "n"})
        wish = Wish(
            job_id=self.ids.job(),
            holder=holder,
            offer=offer,
            words=request.model_dump(exclude_none=True),
            size_bytes=envelope.size_bytes,
            priority=class_of(holder.priority, envelope.asked),
        )
        refusal = await self._desk.admit(wish)
        if refusal is not None:
            return refusal
        try:
            call = self._make_call(wish, offer, request)
            self.calls.add(call.record)
            self.jobs.add(call)
            now = self.loop.now()
            facts = arrival_of(wish, now, slots=slots, durable=False)
            self.loop.post(JobArrived(at=now, job=facts))
        except BaseException:
            self._give_up(wish)
            raise
        return call

    def _make_call(self, wish: Wish, offer: Offer, request: ChatRequest) -> ChatCall:
        record = CallRecord(
            id=wish.job_id,
            key_id=wish.holder.key_id,
            model=offer.model,
            clock=self.clock,
            created_at_ms=self.clock.unix_ms(),
            priority=wish.priority,
        )
        return ChatCall(
            record=record,
            flow=OutFlow(self.budget, self.loop.now()),
            options=self._manners.of(request),
            word=chat_wording(
                wish.words,
                model=offer.model,
                sampling=offer.sampling,
                default_max_tokens=self.settings.default_max_tokens,
            ),
            now=self.loop.now,
            forget=self.jobs.drop,
            account=self.usage.add,
        )
