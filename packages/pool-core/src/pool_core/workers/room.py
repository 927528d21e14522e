"""Compares the memory of a worker's devices with what its model needs: pure.

Takes the estimate of orchestrator_core.fit; a worker on several devices takes an equal share of
each, so the one with the least left decides.
"""

from dataclasses import dataclass
from typing import Final

from orchestrator_core.contracts.pool import Backend, DeviceReport, WorkerSpec
from orchestrator_core.contracts.tasks import TaskKind
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.fit.estimate import Need, estimate
from orchestrator_core.fit.verdict import MARGIN, judge
from orchestrator_core.gguf.facts import ModelFacts
from orchestrator_core.units import format_bytes
from pool_core.workers.choice import Choice
from pool_core.workers.host_picture import HostPicture
from pool_core.workers.suitability import MIN_CTX

__all__ = ["Room"]

# Another worker may be ended, or have loaded less than it was promised, by then.
_RETRY_AFTER_S: Final = 10


@dataclass(frozen=True, slots=True)
class Room:
    """The chosen devices of one order; without facts nothing is known of the need."""

    order: WorkerSpec
    facts: ModelFacts | None
    devices: tuple[DeviceReport, ...]
    host: HostPicture

    @property
    def left_bytes(self) -> int:
        """What can be taken in equal shares."""
        return len(self.devices) * min(self.host.left_bytes(device) for device in self.devices)

    @property
    def total_bytes(self) -> int:
        """The same of empty devices."""
        return len(self.devices) * min(device.memory_total_bytes for device in self.devices)

    def need(self, ctx: int, parallel: int) -> Need | None:
        """What the model needs; None where the file or the device's memory is not known."""
        if self.facts is None or self.total_bytes == 0:
            return None
        return estimate(
            self.facts,
            ctx=ctx,
            parallel=parallel,
            batch_size=self.order.batch_size,
            embeds=self.order.task is not TaskKind.GENERATE,
            accelerated=self.order.backend is not Backend.CPU,
        )

    def fits(self, ctx: int, parallel: int) -> bool:
        """Whether the estimate with its margin is free."""
        need = self.need(ctx, parallel)
        return need is None or judge(need, free_bytes=self.left_bytes).fits

    def needed_bytes(self, choice: Choice) -> dict[str, int]:
        """What is promised, by device."""
        need = self.need(choice.ctx, choice.parallel)
        if need is None:
            return {}
        needed = judge(need, free_bytes=self.left_bytes).needed_bytes
        return {device.id: -(-needed // len(self.devices)) for device in self.devices}

    def reasons(self, choice: Choice) -> tuple[str, ...]:
        """What the promise was made by."""
        need = self.need(choice.ctx, choice.parallel)
        if need is None:
            return ()
        verdict = judge(need, free_bytes=self.left_bytes)
        if not verdict.fits:
            return (
                *verdict.reasons,
                f"it is started all the same: {format_bytes(_sure_bytes(need))} are needed at least",
            )
        return (
            f"needs {format_bytes(verdict.needed_bytes)} of the {format_bytes(self.left_bytes)} "
            f"left on {_names(self.devices)}",
        )

    def refusal(self, choice: Choice) -> Refusal | None:
        """The no, unless it fits or the doubt of a rough estimate is in its favour."""
        need = self.need(choice.ctx, choice.parallel)
        if choice.fits or need is None or _sure_bytes(need) <= self.left_bytes:
            return None
        verdict = judge(need, free_bytes=self.left_bytes)
        sure = _sure_bytes(need)
        details = {
            "field": "spec.model" if self.order.ctx is None else "spec.ctx",
            "devices": [device.id for device in self.devices],
            "needed_bytes": sure,
            "free_bytes": self.left_bytes,
            "total_bytes": self.total_bytes,
            "reasons": list(verdict.reasons),
        }
        what = (
            f"{self.order.model.model_id} with ctx {choice.ctx} and parallel {choice.parallel} "
            f"needs {format_bytes(sure)} on {_names(self.devices)}"
        )
        hint = self._hint(choice)
        if sure > self.total_bytes:
            # Another pool may have what this one lacks, so the model itself is not at fault.
            message = f"{what}, which has {format_bytes(self.total_bytes)} in all{hint}"
            return Refusal(Code.WORKER_REFUSED, message, details)
        message = (
            f"{what}, of which {format_bytes(self.left_bytes)} are free{self._promised()}{hint}"
        )
        return Refusal(Code.NO_CAPACITY, message, details, retry_after_s=_RETRY_AFTER_S)

    def _promised(self) -> str:
        promised = max(self.host.promised_bytes(device) for device in self.devices)
        return f" ({format_bytes(promised)} are promised to workers that load)" if promised else ""

    def _hint(self, choice: Choice) -> str:
        """A smaller context that would fit now, where the order asked for a larger one."""
        ctx = choice.ctx // 2
        while ctx >= MIN_CTX:
            if self.fits(ctx, choice.parallel):
                return f"; ctx {ctx} would fit"
            ctx //= 2
        return f"; parallel 1 with ctx {MIN_CTX} would fit" if self._least_fits(choice) else ""

    def _least_fits(self, choice: Choice) -> bool:
        return choice.parallel > 1 and self.fits(MIN_CTX, 1)


def _sure_bytes(need: Need) -> int:
    return need.sure_bytes + round(need.sure_bytes * MARGIN)


def _names(devices: tuple[DeviceReport, ...]) -> str:
    return ", ".join(device.id for device in devices)
