"""Decides which host a worker or a model goes to, by the rules that orchestratord has; pure glue."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from pydantic import TypeAdapter, ValidationError

from llorch_ctl.hosts.wishes import Wish
from orchestrator_core.catalog.entries import spec_for
from orchestrator_core.catalog.held import meant_by
from orchestrator_core.catalog.reference import Reference, ReferenceKind, canonical_id, parse
from orchestrator_core.catalog.resolve import Catalog
from orchestrator_core.cluster.pools import PoolRecord, heard_status
from orchestrator_core.contracts.pool import (
    Backend,
    DeviceReport,
    ModelFile,
    ModelReport,
    WorkerSpec,
)
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.ids import PoolId, SessionId
from orchestrator_core.placement.choose import choose_home
from orchestrator_core.placement.filters import HomeNeed, home_refusal

__all__ = ["Candidate", "ChosenHost", "choose_among", "record_of"]

_DEVICES: Final = TypeAdapter(list[DeviceReport])
_MODELS: Final = TypeAdapter(list[ModelReport])

Candidate: TypeAlias = PoolRecord | Refusal
"""What a host said of itself, or why it said nothing."""


@dataclass(frozen=True, slots=True)
class ChosenHost:
    """The host and why; missing: the model is not there and has to be downloaded first."""

    name: str
    reasons: tuple[str, ...]
    missing: bool


def record_of(name: str, status: Mapping[str, object]) -> Candidate:
    """Fold a host's own status into the record that the rules of placement read."""
    try:
        devices = _DEVICES.validate_python(status.get("devices"), strict=False)
        models = _MODELS.validate_python(status.get("models"), strict=False)
    except ValidationError:
        return Refusal(Code.DATA_CORRUPT, "its status cannot be read: are both of one version?")
    return PoolRecord(
        pool_id=PoolId(name),
        session_id=SessionId(""),
        last_seen_at=0.0,
        status=heard_status(draining=status.get("draining") is True),
        devices=tuple(devices),
        models=tuple(models),
    )


def choose_among(
    candidates: Mapping[str, Candidate],
    wish: Wish,
    catalog: Catalog,
) -> ChosenHost | Refusal:
    """The host that fits best, or all reasons why none does.

    A host that has the model comes first; without one the devices alone decide.
    """
    pools = [it for it in candidates.values() if isinstance(it, PoolRecord)]
    silent = [f"{name}: {it.message}" for name, it in candidates.items() if isinstance(it, Refusal)]
    refused: list[str] = []
    asks_models = not wish.brings_model
    for needs_model in (True, False) if asks_models else (False,):
        for backend in wish.backends:
            spec = _spec(wish.model, Backend(backend), pools, catalog, needs_model=needs_model)
            if isinstance(spec, Refusal):
                return spec
            need = HomeNeed(spec)
            choice = choose_home(pools, need)
            if choice.chosen is not None:
                others = _refusals(pools, need)
                missing = asks_models and not needs_model
                reasons = (*choice.reasons, *(f"not {it}" for it in (*others, *silent)))
                return ChosenHost(choice.chosen.pool_id, reasons, missing)
            refused += _refusals(pools, need)
    why = "; ".join(dict.fromkeys([*refused, *silent])) or "llorch.toml names no host"
    return Refusal(Code.BACKEND_UNAVAILABLE, f"no host fits: {why}")


def _refusals(pools: Sequence[PoolRecord], need: HomeNeed) -> list[str]:
    found = ((pool.pool_id, home_refusal(pool, need)) for pool in pools)
    return [f"{name}: {reason}" for name, reason in found if reason is not None]


def _spec(
    model: str,
    backend: Backend,
    pools: Sequence[PoolRecord],
    catalog: Catalog,
    *,
    needs_model: bool,
) -> WorkerSpec | Refusal:
    entry = catalog.find(model)
    spec = (
        spec_for(entry, backend=backend)
        if entry is not None
        else WorkerSpec(
            model=ModelFile(model_id=_id_of(model, pools), source="hub", file=model),
            backend=backend,
        )
    )
    if needs_model and not _is_path(model):
        return spec
    # A model that comes with the suite is everywhere: nothing but the devices is asked about then.
    free = spec.model.model_copy(update={"source": "builtin"})
    return spec.model_copy(update={"model": free})


def _id_of(model: str, pools: Sequence[PoolRecord]) -> str:
    held = (meant_by(model, pool.models) for pool in pools)
    found = next((reports[0].id for reports in held if len(reports) == 1), None)
    if found is not None:
        return found
    reference = parse(model)
    if isinstance(reference, Reference) and reference.kind is ReferenceKind.HUB:
        return canonical_id(reference)
    return model


def _is_path(model: str) -> bool:
    return model.startswith(("file:", "/", ".")) or model.lower().endswith(".gguf")
