"""Judges device by device whether a worker for a model would fit there, and what would: pure.

Takes the shape of a model and what is free on each device. Answers in the words of the contracts,
so that a command, a host and the control plane say the same.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from orchestrator_core.contracts.model_info import CacheType, DeviceFit
from orchestrator_core.contracts.pool import Backend
from orchestrator_core.fit.estimate import Need, estimate
from orchestrator_core.fit.shape import ModelShape
from orchestrator_core.fit.smaller import propose
from orchestrator_core.fit.verdict import Verdict, judge

__all__ = ["Target", "judge_devices"]

_NOTHING_FITS: Final = "no context would fit: it needs a smaller model or another device"


@dataclass(frozen=True, slots=True)
class Target:
    """A device and the backend that a worker would use there; a total of 0 is not known."""

    device_id: str
    device_name: str
    backend: Backend
    free_bytes: int
    total_bytes: int


def judge_devices(
    facts: ModelShape,
    targets: Sequence[Target],
    *,
    ctx: int,
    parallel: int,
    batch_size: int = 256,
    cache_type_k: CacheType = "f16",
    cache_type_v: CacheType = "f16",
    embeds: bool = False,
    weights_bytes: int | None = None,
) -> tuple[DeviceFit, ...]:
    """A verdict for each device, in the given order; ctx is per slot."""

    def needs(target: Target) -> Callable[[int, int], Need]:
        return lambda tokens, slots: estimate(
            facts,
            ctx=tokens,
            parallel=slots,
            batch_size=batch_size,
            cache_type_k=cache_type_k,
            cache_type_v=cache_type_v,
            embeds=embeds,
            accelerated=target.backend is not Backend.CPU,
            weights_bytes=weights_bytes,
        )

    return tuple(_judge(target, needs(target), ctx, parallel) for target in targets)


def _judge(
    target: Target, need_of: Callable[[int, int], Need], ctx: int, parallel: int
) -> DeviceFit:
    need = need_of(ctx, parallel)
    verdict = judge(need, free_bytes=target.free_bytes)
    is_unknown = target.total_bytes == 0
    reasons = _reasons(target, need_of, ctx, parallel, verdict)
    return DeviceFit(
        device_id=target.device_id,
        device_name=target.device_name,
        backend=target.backend,
        ctx=ctx,
        parallel=parallel,
        weights_bytes=need.weights_bytes,
        kv_bytes=need.kv_bytes,
        state_bytes=need.state_bytes,
        compute_bytes=need.compute_bytes,
        overhead_bytes=need.overhead_bytes,
        needed_bytes=verdict.needed_bytes,
        free_bytes=max(target.free_bytes, 0),
        total_bytes=target.total_bytes,
        # A worker is not refused either where the driver tells no sizes.
        fits=verdict.fits or is_unknown,
        approximate=need.approximate,
        reasons=list(reasons),
    )


def _reasons(
    target: Target,
    need_of: Callable[[int, int], Need],
    ctx: int,
    parallel: int,
    verdict: Verdict,
) -> Iterator[str]:
    if target.total_bytes == 0:
        yield "its driver does not tell how much memory it has"
        return
    yield from verdict.reasons
    if not verdict.fits and not verdict.may_fit:
        yield _hint(target, need_of, ctx, parallel)
        if verdict.needed_bytes <= target.total_bytes:
            yield "it would fit if nothing else used the device"


def _hint(target: Target, need_of: Callable[[int, int], Need], ctx: int, parallel: int) -> str:
    """The most that would fit now."""

    def fits(tokens: int, slots: int) -> bool:
        return judge(need_of(tokens, slots), free_bytes=target.free_bytes).fits

    return propose(ctx, parallel, fits) or _NOTHING_FITS
