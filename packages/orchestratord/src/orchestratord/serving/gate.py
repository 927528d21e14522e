"""The one gate in front of the queue: every API's request passes here and becomes a live job.

It resolves the model, checks bounds, and hands the machine the facts. A durable job is on disk
before anybody hears that it was accepted.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import orjson

from orchestrator_core.catalog.entries import runnable
from orchestrator_core.catalog.resolve import Catalog
from orchestrator_core.clock import Clock
from orchestrator_core.cluster.workers import ServiceKey
from orchestrator_core.contracts.openai import ChatRequest
from orchestrator_core.contracts.tasks import (
    EventKind,
    JobStatus,
    TaskAccepted,
    TaskKind,
    TaskSubmit,
)
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.idgen import IdSource
from orchestrator_core.ids import JobId, PoolId
from orchestrator_core.scheduler.events import JobArrived, JobFacts
from orchestratord.runtime.call_record import CallRecord, RecentCalls
from orchestratord.runtime.durable_job import DurableJob, Identity, Journal
from orchestratord.runtime.keyring import Principal
from orchestratord.runtime.live import EngineRequest, LiveJobs
from orchestratord.runtime.loop import Loop
from orchestratord.runtime.usage_book import UsageBook
from orchestratord.runtime.workerbook import WorkerAddress
from orchestratord.serving.chat_call import ChatCall, ChatOptions
from orchestratord.serving.engine_request import chat_request, task_request
from orchestratord.serving.external_request import external_chat, external_task
from orchestratord.serving.offers import Offer, Offers
from orchestratord.serving.outflow import FlowBudget, OutFlow
from orchestratord.settings import OrchestratorSettings
from orchestratord.store.rows import EventRow, NewJob
from orchestratord.store.writes import AdmitJob
from orchestratord.upstream.loose import Json

__all__ = ["Gate", "task_wording"]

_RETRY_AFTER_S: Final = 5
_SEED_BITS: Final = 31


def task_wording(
    submission: Json, sampling: Mapping[str, object], default_max_tokens: int
) -> Callable[[WorkerAddress], EngineRequest]:
    """How a stored submission is put to whichever worker gets it."""

    def word(worker: WorkerAddress) -> EngineRequest:
        if worker.external is not None:
            return external_task(submission, worker.external)
        return task_request(
            submission, ctx=worker.ctx, default_max_tokens=default_max_tokens, defaults=sampling
        )

    return word


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
    is_closed: Callable[[], bool]
    fingerprint: str
    _offers: Offers = field(init=False)
    # The same for every call that wants the same: (stream, usage).
    _options: dict[tuple[bool, bool], ChatOptions] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_offers", self._make_offers())

    def _make_offers(self) -> Offers:
        return Offers(self.catalog, self.journal.book, lambda: self.loop.machine.held_models)

    async def admit_task(self, holder: Principal, task: TaskSubmit) -> TaskAccepted | Refusal:
        """Take a durable job in: on disk first, then to the machine, then the answer."""
        offer = self._check(task.model)
        if isinstance(offer, Refusal):
            return offer
        seed = task.seed if task.seed is not None else self.draw_bits(_SEED_BITS)
        words: dict[str, object] = task.model_dump(exclude_none=True, exclude=_OUTSIDE)
        words["seed"] = seed
        new = self._new_job(holder, task, offer, seed, words)
        position = self.loop.machine.depth(ServiceKey(offer.model, TaskKind.GENERATE)) + 1
        told = {"job_id": new.id, "queue_position": position}
        queued = EventRow(new.id, 1, EventKind.QUEUED, orjson.dumps(told).decode())
        job = DurableJob(
            Identity(
                id=new.id,
                key_id=new.key_id,
                model=new.model,
                task=new.task,
                created_at_ms=new.created_at_ms,
            ),
            journal=self.journal,
            word=task_wording(words, offer.sampling, self.settings.default_max_tokens),
            last_seq=0,
            attempted=False,
        )
        # It takes its place at once, so that the limit holds for those that come meanwhile.
        self.jobs.add(job)
        try:
            await self.journal.store.submit(AdmitJob(new, queued))
        except BaseException:
            self.jobs.drop(job.id)
            raise
        job.admitted(queued)
        pin = PoolId(task.pin.pool) if task.pin and task.pin.pool else None
        self.loop.post(JobArrived(at=self.loop.now(), job=self._facts(new, offer, pin)))
        return TaskAccepted(
            job_id=new.id,
            status=JobStatus.QUEUED,
            queue_position=position,
            events_url=f"/v2/tasks/{new.id}/events",
        )

    def admit_chat(self, holder: Principal, request: ChatRequest) -> ChatCall | Refusal:
        """Take a call in that lives as long as its connection."""
        offer = self._check(request.model)
        if isinstance(offer, Refusal):
            return offer
        slots = request.n or 1
        if slots > offer.slots:
            message = f"n is {slots}, but a worker of {offer.model} has {offer.slots} slots"
            return Refusal(Code.INVALID_REQUEST, message, {"param": "n"})
        record = CallRecord(
            id=self.ids.job(),
            key_id=holder.key_id,
            model=offer.model,
            clock=self.clock,
            created_at_ms=self.clock.unix_ms(),
        )
        call = ChatCall(
            record=record,
            flow=OutFlow(self.budget, self.loop.now()),
            options=self._options_of(request),
            word=self._chat_wording(request, offer),
            now=self.loop.now,
            forget=self.jobs.drop,
            account=self.usage.add,
        )
        self.calls.add(record)
        self.jobs.add(call)
        facts = JobFacts(
            id=record.id,
            model=offer.model,
            task=TaskKind.GENERATE,
            priority=record.priority,
            key_id=holder.key_id,
            spec=offer.spec,
            queued_at=self.loop.now(),
            slots=slots,
            durable=False,
        )
        self.loop.post(JobArrived(at=self.loop.now(), job=facts))
        return call

    def _check(self, model: str) -> Offer | Refusal:
        if self.is_closed():
            message = "the orchestrator is stopping: try again once it is back"
            return Refusal(Code.DRAINING, message, retry_after_s=_RETRY_AFTER_S)
        if len(self.jobs) >= self.settings.queue_limit:
            message = f"{self.settings.queue_limit} jobs are in the queue, which is its limit"
            return Refusal(Code.QUEUE_FULL, message, retry_after_s=_RETRY_AFTER_S)
        offer = self._offers.find(model)
        if isinstance(offer, Refusal) or offer.spec.model.source in _ALWAYS_THERE:
            return offer
        name = offer.model
        if name not in self.loop.machine.held_models and not self._offers.served_outside(name):
            refusal = runnable(offer.entry) if offer.entry is not None else None
            if refusal is not None:
                return refusal
            message = f"{name} is on no host: run `llorch-pool models download {name}`"
            return Refusal(Code.MODEL_NOT_PULLED, message, {"model": name})
        return offer

    def _new_job(
        self,
        holder: Principal,
        task: TaskSubmit,
        offer: Offer,
        seed: int,
        words: dict[str, object],
    ) -> NewJob:
        now_ms = self.clock.unix_ms()
        request = orjson.dumps(words)
        metadata = orjson.dumps(task.metadata).decode() if task.metadata else None
        return NewJob(
            id=self.ids.job(),
            key_id=holder.key_id,
            model=offer.model,
            task=TaskKind.GENERATE,
            priority=task.priority,
            request_json=request.decode(),
            request_hash=hashlib.sha256(request).hexdigest(),
            seed=seed,
            spec_json=offer.spec_json,
            created_at_ms=now_ms,
            session_id=task.session_id,
            metadata_json=metadata,
            deadline_at_ms=now_ms + task.deadline_ms if task.deadline_ms else None,
            cancel_on_disconnect=task.cancel_on_disconnect,
        )

    def _facts(self, new: NewJob, offer: Offer, pin: PoolId | None) -> JobFacts:
        now = self.loop.now()
        left_ms = None if new.deadline_at_ms is None else new.deadline_at_ms - new.created_at_ms
        return JobFacts(
            id=JobId(new.id),
            model=offer.model,
            task=new.task,
            priority=new.priority,
            key_id=new.key_id,
            spec=offer.spec,
            queued_at=now,
            deadline_at=None if left_ms is None else now + left_ms / 1000,
            pin_pool=pin,
        )

    def _options_of(self, request: ChatRequest) -> ChatOptions:
        extra = request.stream_options
        stream, include_usage = bool(request.stream), extra is not None and extra.include_usage
        found = self._options.get((stream, include_usage))
        if found is None:
            found = self._make_options(stream=stream, include_usage=include_usage)
            self._options[stream, include_usage] = found
        return found

    def _make_options(self, *, stream: bool, include_usage: bool) -> ChatOptions:
        settings = self.settings
        return ChatOptions(
            stream=stream,
            include_usage=include_usage,
            fingerprint=self.fingerprint,
            keepalive_s=settings.keepalive_s,
            data_keepalive_after_s=settings.data_keepalive_after_s,
            data_keepalive_s=settings.data_keepalive_s,
            load_wait_s=settings.load_wait_s,
            slow_reader_s=settings.slow_reader_s,
        )

    def _chat_wording(
        self, request: ChatRequest, offer: Offer
    ) -> Callable[[WorkerAddress], EngineRequest]:
        fields = request.model_dump(exclude_none=True)
        limit = self.settings.default_max_tokens

        def word(worker: WorkerAddress) -> EngineRequest:
            if worker.external is not None:
                return external_chat(fields, worker.external)
            return chat_request(
                fields,
                model=offer.model,
                ctx=worker.ctx,
                default_max_tokens=limit,
                defaults=offer.sampling,
            )

        return word


# A file that comes with us lies everywhere; an external model is there as long as it is known.
_ALWAYS_THERE: Final = frozenset({"builtin", "external"})
_OUTSIDE: Final = {
    "model",
    "priority",
    "session_id",
    "deadline_ms",
    "metadata",
    "cancel_on_disconnect",
}
