"""Decides whether and how this host runs a worker: pure. Survey looks, the supervisor acts.

Every no has a documented code and names the field or the device, so that nothing is left for the
engine to abort or hang on.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator_core.contracts.pool import WorkerSpec
from orchestrator_core.contracts.tasks import TaskKind
from orchestrator_core.errors import Refusal
from orchestrator_core.fit.choice import choose
from pool_core.catalog.located import Located
from pool_core.workers.host_picture import HostPicture
from pool_core.workers.room import Room
from pool_core.workers.spec import check_values
from pool_core.workers.suitability import check_model
from pool_core.workers.targets import choose_devices

__all__ = ["HostPicture", "Plan", "plan"]


@dataclass(frozen=True, slots=True)
class Plan:
    """How a worker will run: its spec with nothing left open, and what was chosen for it.

    index is the number in the worker's name; needed_bytes is promised memory by device, with the
    margin, and empty where the model's file was not read.
    """

    spec: WorkerSpec
    device_ids: tuple[str, ...]
    index: int
    threads: int
    needed_bytes: Mapping[str, int] = field(default_factory=dict[str, int])
    reasons: tuple[str, ...] = ()


def plan(order: WorkerSpec, model: Located | None, host: HostPicture) -> Plan | Refusal:
    """Check the order, choose what it leaves open, and see that the memory suffices.

    Without a model only the order and the host are judged.
    """
    devices = choose_devices(order, host)
    if isinstance(devices, Refusal):
        return devices
    refusal = check_values(order, host.cpus)
    if refusal is None and model is not None:
        refusal = check_model(order, model.facts, host.engine)
    if refusal is not None:
        return refusal
    room = Room(order, model, devices, host)
    choice = choose(
        ctx=order.ctx,
        parallel=order.parallel,
        trained_ctx=model.facts.trained_ctx if model else None,
        backend=order.backend,
        embeds=order.task is not TaskKind.GENERATE,
        fits=room.fits,
    )
    spec = order.model_copy(update={"ctx": choice.ctx, "parallel": choice.parallel})
    # A default beside an ordered value may make a whole that neither of them is.
    refusal = check_values(spec, host.cpus) or room.refusal(choice)
    if refusal is not None:
        return refusal
    return Plan(
        spec=spec,
        device_ids=tuple(device.id for device in devices),
        index=devices[0].index,
        threads=order.threads or _default_threads(host),
        needed_bytes=room.needed_bytes(choice),
        reasons=(*choice.reasons, *room.reasons(choice)),
    )


def _default_threads(host: HostPicture) -> int:
    """One per physical core: a second one on the same core slows the arithmetic down."""
    # A GPU's cores are of another kind.
    processors = (device.cores for device in host.devices if device.kind == "cpu")
    cores = next(filter(None, processors), host.cpus)
    return max(1, min(host.cpus, cores))
