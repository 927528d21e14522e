"""Makes the order for a worker from what a person typed: which model, where, how large."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator_core.catalog.entries import spec_for
from orchestrator_core.catalog.reference import parse
from orchestrator_core.catalog.resolve import Catalog
from orchestrator_core.contracts.pool import Backend, DeviceReport, ModelFile, WorkerSpec
from orchestrator_core.errors import Code, Refusal, error_for

__all__ = ["Typed", "make_spec", "pick_device"]

_FILE: Final = "file:"
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


def make_spec(typed: Typed, devices: Sequence[DeviceReport]) -> WorkerSpec:
    """Resolve the model and the device.

    What was not typed comes from the catalogue; about a plain file the catalogue knows nothing,
    and the pool chooses.
    """
    device_ids: tuple[str, ...] = ()
    if typed.gpu is not None:
        device_ids = (pick_device(typed.backend, typed.gpu, devices),)
    path = _path_of(typed.model)
    if path is not None:
        return WorkerSpec(
            model=ModelFile(model_id=_name_for(path), source="file", file=str(path)),
            backend=typed.backend,
            device_ids=device_ids,
            ctx=typed.ctx,
            parallel=typed.parallel,
            threads=typed.threads,
        )
    entry = Catalog.load().resolve(typed.model)
    if isinstance(entry, Refusal):
        raise error_for(entry)
    return spec_for(
        entry,
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


def _path_of(model: str) -> Path | None:
    """The file that a person means, whole and without detours; None for a name."""
    if model.startswith(_FILE):
        reference = parse(model)
        if isinstance(reference, Refusal):
            raise error_for(reference)
        return Path(reference.file) if reference.file else None
    if model.startswith("hf:") or not ("/" in model or model.lower().endswith(".gguf")):
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
