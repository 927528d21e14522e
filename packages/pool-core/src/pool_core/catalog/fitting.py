"""Holds a model against the devices of this host, each with the size that a spawn would choose."""

from collections.abc import Sequence

from orchestrator_core.catalog.entries import CatalogEntry
from orchestrator_core.contracts.model_info import DeviceFit, InfoOrder
from orchestrator_core.contracts.pool import Backend, DeviceReport
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.fit.choice import choose
from orchestrator_core.fit.devices import Target, judge_devices
from orchestrator_core.gguf.architectures import ENCODERS
from orchestrator_core.gguf.facts import ModelFacts

__all__ = ["fits_of", "pick_devices"]


def pick_devices(
    order: InfoOrder, devices: Sequence[DeviceReport]
) -> list[tuple[DeviceReport, Backend]] | Refusal:
    """The devices that are asked about, and what a worker would use there."""
    known = {device.id for device in devices}
    unknown = next((it for it in order.device_ids if it not in known), None)
    if unknown is not None:
        line = f"this host has no device {unknown}: see llorch-pool devices"
        return Refusal(Code.INVALID_REQUEST, line, {"field": "device_ids"})
    wanted = [it for it in devices if not order.device_ids or it.id in order.device_ids]
    if order.backend is None:
        return [(it, it.backends[0]) for it in wanted if it.backends]
    offering = [(it, order.backend) for it in wanted if order.backend in it.backends]
    if not offering:
        line = f"no device of this host works with {order.backend.value}: see llorch-pool devices"
        return Refusal(Code.BACKEND_UNAVAILABLE, line, {"field": "backend"})
    return offering


def fits_of(
    facts: ModelFacts,
    order: InfoOrder,
    targets: Sequence[tuple[DeviceReport, Backend]],
    *,
    entry: CatalogEntry | None,
    weights_bytes: int | None = None,
) -> list[DeviceFit]:
    """A verdict for each device; who knows the weights of all parts of a split model names them."""
    ctx, parallel = order.ctx, order.parallel
    if entry is not None:
        ctx, parallel = ctx or entry.ctx, parallel or entry.parallel
    return [
        _startable(
            _fit(facts, order, _target(device, backend), ctx, parallel, weights_bytes),
            device,
            facts.trained_ctx,
        )
        for device, backend in targets
    ]


def _fit(
    facts: ModelFacts,
    order: InfoOrder,
    target: Target,
    ctx: int | None,
    parallel: int | None,
    weights_bytes: int | None,
) -> DeviceFit:
    # What makes vectors is started for that, and computes a whole text at once.
    embeds = facts.architecture in ENCODERS

    def judged(tokens: int, slots: int) -> DeviceFit:
        (fit,) = judge_devices(
            facts,
            [target],
            ctx=tokens,
            parallel=slots,
            batch_size=order.batch_size,
            cache_type_k=order.cache_type_k,
            cache_type_v=order.cache_type_v,
            embeds=embeds,
            weights_bytes=weights_bytes,
        )
        return fit

    chosen = choose(
        ctx=ctx,
        parallel=parallel,
        trained_ctx=facts.trained_ctx,
        backend=target.backend,
        fits=lambda tokens, slots: judged(tokens, slots).fits,
        embeds=embeds,
    )
    return judged(chosen.ctx, chosen.parallel)


def _target(device: DeviceReport, backend: Backend) -> Target:
    return Target(
        device_id=device.id,
        device_name=device.name,
        backend=backend,
        free_bytes=device.memory_free_bytes,
        total_bytes=device.memory_total_bytes,
    )


def _startable(fit: DeviceFit, device: DeviceReport, trained_ctx: int | None) -> DeviceFit:
    """The same, unless nothing is started there however much of the device is free."""
    reasons = fit.reasons
    if trained_ctx is not None and fit.ctx > trained_ctx:
        # What would make room for such a context helps nobody.
        reasons = [f"ctx {fit.ctx} is more than the {trained_ctx} tokens it was trained for"]
    if not device.is_sound:
        reasons = [device.fault or "its driver does not answer", *reasons]
    if reasons is fit.reasons:
        return fit
    return fit.model_copy(update={"fits": False, "reasons": reasons})
