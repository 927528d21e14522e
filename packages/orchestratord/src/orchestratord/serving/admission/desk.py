"""Asks every question of admission in its order, the cheap ones first, and keeps a place meanwhile.

Fed by the gate with what a request wishes; answers with the refusal or lets it in. Only a prompt
that may be too long for its context makes it wait.
"""

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from orchestrator_core.catalog.entries import runnable
from orchestrator_core.cluster.workers import ServiceKey
from orchestrator_core.contracts.tasks import Priority, TaskKind
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.ids import JobId, PoolId
from orchestrator_core.scheduler.outlook import Supply
from orchestratord.runtime.keys.keyring import Principal
from orchestratord.runtime.keys.quotas import Quotas
from orchestratord.runtime.loop import Loop
from orchestratord.serving.admission.allow_list import as_seen_by
from orchestratord.serving.admission.contexts import (
    context_refusal,
    tokens_at_least,
    tokens_at_most,
)
from orchestratord.serving.admission.ledger import Ledger
from orchestratord.serving.admission.offers import Offer, Offers
from orchestratord.serving.admission.prospects import deadline_refusal, later, waiters_refusal
from orchestratord.serving.admission.token_counts import TokenCounts
from orchestratord.upstream.loose import Json

__all__ = ["Desk", "Wish"]

# A file that comes with us lies everywhere; an external model is there as long as it is known.
_ALWAYS_THERE: Final = frozenset({"builtin", "external"})
_SUPPLY_VALID_S: Final = 1.0
_SUPPLIES: Final = 1024


class Wish(NamedTuple):
    """What a request wants once its model is known; its size is that of the body as it was sent."""

    job_id: JobId
    holder: Principal
    offer: Offer
    words: Json
    size_bytes: int
    priority: Priority
    pin: PoolId | None = None
    deadline_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Every bound in front of the queue; one for all APIs, cold and warm models."""

    loop: Loop
    offers: Offers
    ledger: Ledger
    quotas: Quotas
    counts: TokenCounts
    load_waiters_limit: int
    _supplies: dict[str, tuple[float, Supply]] = field(
        default_factory=dict[str, tuple[float, Supply]], init=False
    )

    def find(self, holder: Principal, model: str) -> Offer | Refusal:
        """The model that a caller means, if its key may ask now and some host has the model."""
        if holder.concurrent_jobs is not None or holder.requests_per_minute is not None:
            refusal = self._over_quota(holder)
            if refusal is not None:
                return refusal
        offer = self.offers.find(model)
        if holder.models is not None:
            offer = as_seen_by(holder, model, offer)
        if isinstance(offer, Refusal) or offer.spec.model.source in _ALWAYS_THERE:
            return offer
        return self._not_pulled(offer) or offer

    def _over_quota(self, holder: Principal) -> Refusal | None:
        live_jobs = self.ledger.jobs_of_key(holder.key_id)
        refusal = self.quotas.admit(holder, now=self.loop.now(), live_jobs=live_jobs)
        if refusal is None:
            return None
        wait_s = refusal.retry_after_s
        return later(refusal, self.loop.machine.room_in_s() if wait_s is None else wait_s)

    def _not_pulled(self, offer: Offer) -> Refusal | None:
        name = offer.model
        if name in self.loop.machine.held_models or self.offers.served_outside(name):
            return None
        refusal = runnable(offer.entry) if offer.entry is not None else None
        if refusal is not None:
            return refusal
        message = f"{name} is on no host: run `llorch-pool models download {name}`"
        return Refusal(Code.MODEL_NOT_PULLED, message, {"model": name})

    async def admit(self, wish: Wish) -> Refusal | None:
        """Give the job its place, or say why it gets none; a refused one has left nothing."""
        key_id, model = wish.holder.key_id, wish.offer.model
        refusal = self.ledger.enter(wish.job_id, key_id, model, wish.size_bytes)
        if refusal is not None:
            return self._full(refusal)
        try:
            supply = self._supply(wish)
            refusal = self._hopeless(wish, supply)
            ctx = supply.ctx if supply.workers else wish.offer.ctx
            if refusal is None and ctx is not None:
                at_most = tokens_at_most(wish.words)
                if at_most is not None and at_most >= ctx:
                    refusal = await self._too_long(wish, supply, ctx)
        except BaseException:
            self.ledger.leave(wish.job_id)
            raise
        if refusal is not None:
            self.ledger.leave(wish.job_id)
        return refusal

    def _full(self, refusal: Refusal) -> Refusal:
        if not refusal.outcome.retry_later:
            return refusal
        return later(refusal, self.loop.machine.room_in_s())

    def _supply(self, wish: Wish) -> Supply:
        """What serves the model; good news may be a second old, because each call asks for it."""
        model, now = wish.offer.model, self.loop.now()
        kept = self._supplies.get(model) if wish.pin is None else None
        if kept is not None and now - kept[0] < _SUPPLY_VALID_S:
            return kept[1]
        supply = self.loop.machine.supply(ServiceKey(model, TaskKind.GENERATE), wish.pin)
        if wish.pin is None and supply.workers and supply.refusal is None:
            if len(self._supplies) >= _SUPPLIES:
                self._supplies.clear()
            self._supplies[model] = (now, supply)
        return supply

    def _hopeless(self, wish: Wish, supply: Supply) -> Refusal | None:
        if supply.refusal is not None:
            return supply.refusal
        if supply.slots_open and wish.deadline_s is None:
            return None
        model = wish.offer.model
        # The job itself is among the live ones by now.
        live = self.ledger.jobs_of_model(model) - 1
        refusal = waiters_refusal(model, supply, live, self.load_waiters_limit)
        if refusal is None and wish.deadline_s is None:
            return None
        machine, key = self.loop.machine, ServiceKey(model, TaskKind.GENERATE)
        forecast = machine.forecast(key, wish.pin, wish.priority)
        if refusal is not None:
            start_in_s = forecast.start_in_s
            return later(refusal, machine.room_in_s() if start_in_s is None else start_in_s)
        return deadline_refusal(wish.deadline_s or 0.0, forecast)

    async def _too_long(self, wish: Wish, supply: Supply, ctx: int) -> Refusal | None:
        if self.counts.is_foreign(supply.workers):
            # Such an engine keeps the length of its context to itself.
            return None
        least = tokens_at_least(wish.words, ctx)
        if least >= ctx:
            return context_refusal(ctx, least, exact=False)
        tokens = await self.counts.count(supply.workers, wish.words)
        if tokens is None or tokens < ctx:
            return None
        return context_refusal(ctx, tokens, exact=True)
