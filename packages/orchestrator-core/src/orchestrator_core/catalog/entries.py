"""What the catalogue says about one model, and the worker that an entry describes."""

from typing import Annotated

from pydantic import Field, StringConstraints

from orchestrator_core.contracts.base import Order
from orchestrator_core.contracts.pool import Backend, ModelFile, WorkerSpec

__all__ = ["CatalogEntry", "Sampling", "spec_for"]

EntryName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]


class Sampling(Order):
    """How a model is sampled when a request does not say it; engines have defaults of their own."""

    temperature: Annotated[float, Field(ge=0, le=5)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None


class CatalogEntry(Order):
    """A model that can be run: ctx is per slot, parallel is slots per worker."""

    id: EntryName
    name: str
    description: str
    aliases: tuple[EntryName, ...] = ()
    ctx: Annotated[int, Field(ge=64)]
    parallel: Annotated[int, Field(ge=1, le=256)]
    trained_ctx: Annotated[int, Field(ge=64)]
    file: ModelFile
    sampling: Sampling = Sampling()


def spec_for(
    entry: CatalogEntry,
    *,
    backend: Backend = Backend.CPU,
    device_ids: tuple[str, ...] = (),
    ctx: int | None = None,
    parallel: int | None = None,
    threads: int | None = None,
) -> WorkerSpec:
    """Describe a worker for a model; what is not given comes from the entry."""
    return WorkerSpec(
        model=entry.file,
        backend=backend,
        device_ids=device_ids,
        ctx=entry.ctx if ctx is None else ctx,
        parallel=entry.parallel if parallel is None else parallel,
        threads=threads,
    )
