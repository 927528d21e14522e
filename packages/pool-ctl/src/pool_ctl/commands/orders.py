"""Makes the order for a worker from what a person typed: which model, where, how large."""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator_core.catalog.entries import CatalogEntry, runnable, spec_for
from orchestrator_core.catalog.held import meant_by
from orchestrator_core.catalog.reference import Reference, ReferenceKind, parse
from orchestrator_core.catalog.resolve import Catalog
from orchestrator_core.contracts.pool import (
    Backend,
    DeviceReport,
    ModelFile,
    ModelReport,
    WorkerSpec,
)
from orchestrator_core.errors import Code, Refusal, error_for

__all__ = ["Typed", "make_spec", "path_of", "pick_device"]

_FILE: Final = "file:"
_ADDRESSES: Final = ("hf:", "https://", "http://")
_NOT_ALLOWED: Final = re.compile(r"[^a-z0-9._-]+")
_NAME_LENGTH_MAX: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Typed:
    """The options of a spawn; None was not typed."""

    model: str
    backend: Backend
    gpu: int | None = None
    ctx: int | None = None
    parallel: int | None = None
    threads: int | None = None


def _nothing() -> Sequence[ModelReport]:
    return ()


def make_spec(
    typed: Typed,
    devices: Sequence[DeviceReport],
    *,
    catalog: Callable[[], Catalog] = Catalog.load,
    held: Callable[[], Sequence[ModelReport]] = _nothing,
) -> WorkerSpec:
    """Resolve the model and the device.

    What was not typed comes from the catalogue. About a plain file and about what a host holds
    besides (held, asked only then) the pool knows more, and chooses.
    """
    device_ids: tuple[str, ...] = ()
    if typed.gpu is not None:
        device_ids = (pick_device(typed.backend, typed.gpu, devices),)
    found = _find(typed.model, catalog, held)
    if isinstance(found, ModelFile):
        return WorkerSpec(
            model=found,
            backend=typed.backend,
            device_ids=device_ids,
            ctx=typed.ctx,
            parallel=typed.parallel,
            threads=typed.threads,
        )
    return spec_for(
        found,
        backend=typed.backend,
        device_ids=device_ids,
        ctx=typed.ctx,
        parallel=typed.parallel,
        threads=typed.threads,
    )


def pick_device(backend: Backend, gpu: int, devices: Sequence[DeviceReport]) -> str:
    """Find the lasting id of the GPU that has this index today."""
    offering = [it for it in devices if it.kind == "gpu" and backend in it.backends]
    for device in offering:
        if device.index == gpu:
            return device.id
    there = ", ".join(f"{it.index} ({it.name})" for it in offering) or "none"
    text = f"this host has no {backend.value} GPU {gpu}; there is: {there}"
    raise error_for(Refusal(Code.BACKEND_UNAVAILABLE, text))


def _find(
    model: str, catalog: Callable[[], Catalog], held: Callable[[], Sequence[ModelReport]]
) -> CatalogEntry | ModelFile:
    reference = parse(model)
    path = path_of(model, reference)
    if path is not None:
        return ModelFile(model_id=_name_for(path), source="file", file=str(path))
    known = catalog()
    entry = known.find(model)
    if entry is None:
        reports = held()
        file = _held_file(model, reference, reports)
        if file is not None:
            return file
        entry = known.resolve(model, [report.id for report in reports])
    if isinstance(entry, Refusal):
        raise error_for(entry)
    refusal = runnable(entry)
    if refusal is not None:
        raise error_for(refusal)
    return entry


def _held_file(
    model: str, reference: Reference | Refusal, reports: Sequence[ModelReport]
) -> ModelFile | None:
    """The one model of this host that is meant; None where the name tells of none."""
    meant = meant_by(model, reports)
    if len(meant) == 1:
        return _file_of(meant[0])
    if meant:
        names = [report.id for report in meant]
        text = f"{model} may mean several models of this host: name one of {', '.join(names)}"
        raise error_for(Refusal(Code.MODEL_NOT_FOUND, text, {"model": model, "nearest": names}))
    if isinstance(reference, Reference) and reference.kind is ReferenceKind.HUB:
        name = reference.text
        text = f"{name} is not on this host: run `llorch-pool models download {name}`"
        raise error_for(Refusal(Code.MODEL_NOT_PULLED, text, {"model": name}))
    return None


def _file_of(report: ModelReport) -> ModelFile:
    return ModelFile(
        model_id=report.id,
        source=report.source,
        file=report.file,
        sha256=report.sha256,
        size_bytes=report.size_bytes,
        repo=report.repo,
        commit=report.commit,
    )


def path_of(model: str, reference: Reference | Refusal) -> Path | None:
    """The file that a person means, whole and without detours; None for a name."""
    if isinstance(reference, Refusal):
        if model.startswith((_FILE, *_ADDRESSES)):
            raise error_for(reference)
    elif reference.kind is ReferenceKind.HUB:
        return None
    elif reference.kind is ReferenceKind.FILE:
        return Path(str(reference.file))
    if not ("/" in model or model.lower().endswith(".gguf")):
        return None
    # Links stay as they are: a model store names its files by links and their targets by hashes.
    path = Path(os.path.abspath(model))  # noqa: PTH100 - resolve() would follow the links.
    if not str(path).isprintable():
        text = f"{str(path)!r} holds characters that no order can carry: give the file another name"
        raise error_for(Refusal(Code.INVALID_REQUEST, text))
    return path


def _name_for(path: Path) -> str:
    """The name under which the worker answers: the file's, in the letters that names have."""
    stem = path.name.removesuffix(".gguf").removesuffix(".GGUF").lower()
    return _NOT_ALLOWED.sub("-", stem).strip("._-")[:_NAME_LENGTH_MAX] or "model"
