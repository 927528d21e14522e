"""Finds what the gate needs of a model for every request: by its name, made once per model.

A model comes from the catalogue, or from what pools report: files that they hold, and engines
that somebody else runs.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from orchestrator_core.catalog.entries import CatalogEntry, spec_for
from orchestrator_core.catalog.held import meant_by
from orchestrator_core.catalog.reference import ReferenceKind, parse
from orchestrator_core.catalog.resolve import Catalog
from orchestrator_core.contracts.pool import ModelFile, ModelReport, WorkerSpec
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.fit.pace import stall_s
from orchestratord.runtime.workerbook import WorkerBook

__all__ = ["Offer", "Offers"]

# What a worker on a processor gets where nobody has said more; the pool halves the context of a
# model that would not fit.
_SLOTS: Final = 2

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A model, the worker that runs it, and how it is sampled by default.

    ctx is what a worker that we start would have, or what the model was made for; None: not known.
    Without an entry it stands in no catalogue: a pool holds it or an external engine serves it.
    """

    model: str
    entry: CatalogEntry | None
    slots: int
    ctx: int | None
    spec: WorkerSpec
    spec_json: str
    sampling: Mapping[str, object]


class Offers:
    """The offers that were asked for, by the model's name."""

    def __init__(
        self, catalog: Catalog, book: WorkerBook, held: Callable[[], Mapping[str, ModelReport]]
    ) -> None:
        self._catalog = catalog
        self._book = book
        self._held = held
        self._offers: dict[str, Offer] = {}
        self._external: dict[str, Offer] = {}
        self._of_files: dict[str, tuple[ModelReport, Offer]] = {}

    def find(self, name: str) -> Offer | Refusal:
        """The offer of a model; the catalogue's names come first."""
        entry = self._catalog.find(name)
        if entry is not None:
            return self._of_entry(entry)
        external = self._book.external_models
        spec = external.get(name)
        if spec is not None:
            return self._of_engine(name, spec)
        held = self._held()
        report = held.get(name)
        if report is not None:
            return self._of_report(report)
        meant = meant_by(name, held.values())
        if len(meant) == 1:
            return self._of_report(meant[0])
        return _not_clear(name, meant) or self._refused(name, (*external, *held))

    def _refused(self, name: str, others: Iterable[str]) -> Offer | Refusal:
        found = self._catalog.resolve(name, tuple(others))
        return found if isinstance(found, Refusal) else self._of_entry(found)

    def served_outside(self, model: str) -> bool:
        """True when an external engine has this model, whether it is up or not."""
        return model in self._book.external_models

    def _of_entry(self, entry: CatalogEntry) -> Offer:
        found = self._offers.get(entry.id)
        if found is not None and found.entry is entry:
            return found
        spec = _patient(spec_for(entry))
        offer = self._offers[entry.id] = Offer(
            model=entry.id,
            entry=entry,
            slots=entry.parallel,
            ctx=entry.ctx,
            spec=spec,
            spec_json=spec.model_dump_json(),
            sampling=entry.sampling.model_dump(exclude_none=True),
        )
        return offer

    def _of_engine(self, name: str, spec: WorkerSpec) -> Offer:
        found = self._external.get(name)
        if found is None or found.spec is not spec:
            self._external = _known(self._external, self._book.external_models)
            found = self._external[name] = _unlisted(name, spec, spec.ctx)
        return found

    def _of_report(self, report: ModelReport) -> Offer:
        name = report.id
        found = self._of_files.get(name)
        if found is None or found[0] != report:
            self._of_files = _known(self._of_files, self._held())
            offer = _unlisted(name, _patient(_spec_of(report)), report.trained_ctx)
            found = self._of_files[name] = (report, offer)
        return found[1]


def _not_clear(name: str, meant: Sequence[ModelReport]) -> Refusal | None:
    """Why a hub reference cannot be served: nobody has fetched it, or it names several."""
    reference = parse(name)
    if isinstance(reference, Refusal) or reference.kind is not ReferenceKind.HUB:
        return None
    if not meant:
        message = f"{name} is on no host: run `llorch-pool models download {name}`"
        return Refusal(Code.MODEL_NOT_PULLED, message, {"model": name})
    names = ", ".join(report.id for report in meant)
    message = f"{name} may mean several models that hosts hold: name one of {names}"
    return Refusal(Code.MODEL_NOT_FOUND, message, {"model": name, "nearest": names})


def _known(made: Mapping[str, T], names: Iterable[str]) -> dict[str, T]:
    """The offers of models that are still there: those of others must not pile up."""
    known = frozenset(names)
    return {name: offer for name, offer in made.items() if name in known}


def _unlisted(name: str, spec: WorkerSpec, ctx: int | None) -> Offer:
    return Offer(
        model=name,
        entry=None,
        slots=spec.parallel or 1,
        ctx=ctx,
        spec=spec,
        spec_json=spec.model_dump_json(),
        sampling={},
    )


def _spec_of(report: ModelReport) -> WorkerSpec:
    model = ModelFile(
        model_id=report.id,
        source=report.source,
        file=report.file,
        sha256=report.sha256,
        size_bytes=report.size_bytes,
        repo=report.repo,
        commit=report.commit,
    )
    return WorkerSpec(model=model, parallel=_SLOTS)


def _patient(spec: WorkerSpec) -> WorkerSpec:
    sizes = (spec.model.size_bytes, *(part.size_bytes for part in spec.model.parts))
    whole_bytes = sum(size or 0 for size in sizes)
    patience_s = stall_s(whole_bytes, spec.batch_size, spec.backend)
    return spec.model_copy(update={"stall_s": patience_s})
