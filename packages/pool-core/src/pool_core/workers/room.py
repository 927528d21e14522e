"""Compares the memory of a worker's devices with what its model needs: pure.

Takes the estimate of orchestrator_core.fit; a worker on several devices takes an equal share of
each, so the one with the least left decides.
"""

from dataclasses import dataclass
from typing import Final

from orchestrator_core.contracts.pool import Backend, DeviceReport, WorkerSpec
from orchestrator_core.contracts.tasks import TaskKind
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.fit.choice import Choice
from orchestrator_core.fit.estimate import Need, estimate
from orchestrator_core.fit.smaller import propose
from orchestrator_core.fit.verdict import Verdict, judge
from orchestrator_core.units import format_bytes
from pool_core.catalog.located import Located
from pool_core.workers.host_picture import HostPicture

__all__ = ["Room"]

# Another worker may be ended, or have loaded less than it was promised, by then.
_RETRY_AFTER_S: Final = 10


@dataclass(frozen=True, slots=True)
class Room:
    """The chosen devices of one order; without a model nothing is known of the need."""

    order: WorkerSpec
    model: Located | None
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
        if self.model is None or self.total_bytes == 0:
            return None
        return estimate(
            self.model.facts,
            ctx=ctx,
            parallel=parallel,
            batch_size=self.order.batch_size,
            embeds=self.order.task is not TaskKind.GENERATE,
            accelerated=self.order.backend is not Backend.CPU,
            weights_bytes=self.model.weights_bytes,
        )

    def fits(self, ctx: int, parallel: int) -> bool:
        """Whether the estimate with its margin is free."""
        verdict = self._verdict(ctx, parallel)
        return verdict is None or verdict.fits

    def needed_bytes(self, choice: Choice) -> dict[str, int]:
        """What is promised, by device."""
        verdict = self._verdict(choice.ctx, choice.parallel)
        if verdict is None:
            return {}
        share = -(-verdict.needed_bytes // len(self.devices))
        return {device.id: share for device in self.devices}

    def reasons(self, choice: Choice) -> tuple[str, ...]:
        """What the promise was made by."""
        verdict = self._verdict(choice.ctx, choice.parallel)
        if verdict is None or not verdict.fits:
            return () if verdict is None else verdict.reasons
        return (
            f"needs {format_bytes(verdict.needed_bytes)} of the {format_bytes(self.left_bytes)} "
            f"left on {_names(self.devices)}",
        )

    def refusal(self, choice: Choice) -> Refusal | None:
        """The no, unless it fits or the doubt of a rough estimate is in its favour."""
        verdict = self._verdict(choice.ctx, choice.parallel)
        if choice.fits or verdict is None or verdict.may_fit:
            return None
        sure = verdict.least_bytes
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

    def _verdict(self, ctx: int, parallel: int) -> Verdict | None:
        need = self.need(ctx, parallel)
        return None if need is None else judge(need, free_bytes=self.left_bytes)

    def _promised(self) -> str:
        promised = max(self.host.promised_bytes(device) for device in self.devices)
        return f" ({format_bytes(promised)} are promised to workers that load)" if promised else ""

    def _hint(self, choice: Choice) -> str:
        """What would fit now instead."""
        smaller = propose(choice.ctx, choice.parallel, self.fits)
        return "" if smaller is None else f"; {smaller}"


def _names(devices: tuple[DeviceReport, ...]) -> str:
    return ", ".join(device.id for device in devices)
