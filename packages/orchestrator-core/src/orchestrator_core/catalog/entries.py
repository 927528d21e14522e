"""What the catalogue says about one model, and the worker that an entry describes."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Annotated, Final, cast

from pydantic import Field, StringConstraints, ValidationInfo, field_validator, model_validator

from orchestrator_core.catalog.gguf_names import quant_of, safe_relative
from orchestrator_core.catalog.reference import parse
from orchestrator_core.contracts.base import Order
from orchestrator_core.contracts.pool import Backend, ModelFile, WorkerSpec
from orchestrator_core.errors import Code, Refusal

__all__ = ["CatalogEntry", "Sampling", "conversion_of", "runnable", "spec_for"]

EntryName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]

# What a person who adds a model need not say: as much as most hosts hold.
_CTX: Final = 8192
_PARALLEL: Final = 2
# As many parts as a header may tell, and what reads images.
_FILES_MAX: Final = 16_385


class Sampling(Order):
    """How a model is sampled when a request does not say it; engines have defaults of their own."""

    temperature: Annotated[float, Field(ge=0, le=5)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None


class CatalogEntry(Order):
    """A model that is known by name: ctx is per slot, parallel is slots per worker.

    One that requires conversion has no file to run: its file is what the conversion would make.
    """

    id: EntryName
    name: str
    description: str = ""
    aliases: tuple[EntryName, ...] = ()
    ctx: Annotated[int, Field(ge=64, le=4_194_304)]
    parallel: Annotated[int, Field(ge=1, le=256)]
    trained_ctx: Annotated[int, Field(ge=64)]
    file: ModelFile
    quant: str | None = None
    license: str | None = None
    gated: bool = False
    requires_conversion: bool = False
    conversion: str | None = None
    """The command that a person would run; it is made from the repository where none is given."""

    sampling: Sampling = Sampling()

    @model_validator(mode="before")
    @classmethod
    def _say_the_usual(cls, value: object) -> object:
        if not isinstance(value, Mapping):
            return value
        tree = dict(cast("Mapping[str, object]", value))
        tree.setdefault("name", tree.get("id"))
        tree.setdefault("parallel", _PARALLEL)
        trained = tree.get("trained_ctx")
        if isinstance(trained, int):
            tree.setdefault("ctx", min(trained, _CTX))
        file = tree.get("file")
        if isinstance(file, Mapping):
            # The file is named by its model, so the catalogue need not say the id twice.
            named = {"model_id": tree.get("id"), **cast("Mapping[str, object]", file)}
            tree["file"] = named
            tree.setdefault("quant", quant_of(str(named.get("file"))))
            if tree.get("requires_conversion") is True:
                repo, made = str(named.get("repo")), str(named.get("file"))
                tree.setdefault("conversion", conversion_of(repo, made, str(tree.get("id"))))
        return tree

    @field_validator("file")
    @classmethod
    def _is_a_file(cls, file: ModelFile, info: ValidationInfo) -> ModelFile:
        fault = _file_fault(file)
        if fault is None and file.model_id != info.data.get("id", file.model_id):
            fault = "model_id is not the id of the entry: leave it out"
        if fault is not None:
            raise ValueError(fault)
        return file

    @model_validator(mode="after")
    def _converts_or_runs(self) -> "CatalogEntry":
        if self.ctx > self.trained_ctx:
            raise ValueError("ctx is above trained_ctx: no worker would be started")
        if self.conversion is not None and not self.requires_conversion:
            raise ValueError("conversion goes with requires_conversion = true")
        if self.requires_conversion and self.file.source != "hub":
            raise ValueError("only a model of the hub is converted")
        return self

    @property
    def total_bytes(self) -> int | None:
        """The size of all files, or None where one of them is not known."""
        extra = (self.file.mmproj,) if self.file.mmproj else ()
        sizes = [self.file.size_bytes, *(it.size_bytes for it in (*self.file.parts, *extra))]
        known = [size for size in sizes if size is not None]
        return sum(known) if len(known) == len(sizes) else None


def conversion_of(repo: str, made: str, model_id: str) -> str:
    """The usual way to a model without a GGUF file: fetch its weights, convert, take in."""
    folder, file = shlex.quote(repo.rpartition("/")[2]), shlex.quote(made)
    return (
        f"hf download {shlex.quote(repo)} --local-dir {folder}"
        f" && python convert_hf_to_gguf.py {folder} --outfile {file}"
        f" && llorch-pool models import {file} --id {shlex.quote(model_id)}"
    )


def runnable(entry: CatalogEntry) -> Refusal | None:
    """Why nothing can be downloaded or started for an entry, with the command that helps."""
    if not entry.requires_conversion:
        return None
    text = f"{entry.id} is published without a GGUF file; convert and import it: {entry.conversion}"
    details = {"model": entry.id, "command": entry.conversion}
    return Refusal(Code.CONVERSION_REQUIRED, text, details)


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


def _file_fault(file: ModelFile) -> str | None:
    if file.size_bytes is not None and file.size_bytes < 0:
        return "size_bytes is below 0"
    if file.source == "external":
        return "an engine outside is named in pool.toml, not here"
    if file.source == "file":
        found = parse(f"file:{file.file}")
        return found.message if isinstance(found, Refusal) else None
    if (file.source == "hub") != (file.repo is not None):
        return 'repo goes with source = "hub"'
    if file.repo is not None:
        found = parse(f"hf:{file.repo}")
        if isinstance(found, Refusal) or found.repo != file.repo:
            return f"{file.repo!a} is not ORG/REPO"
    extra = (file.mmproj,) if file.mmproj else ()
    return _names_fault([file.file, *(it.file for it in (*file.parts, *extra))])


def _names_fault(names: Sequence[str]) -> str | None:
    if len(names) > _FILES_MAX:
        return f"it names more than {_FILES_MAX} files"
    if len(set(names)) < len(names):
        return "the same file is named twice"
    faults = (it.message for name in names if isinstance(it := safe_relative(name), Refusal))
    return next(faults, None)
