"""What is said about the models of one host: kept, known, verified, deleted, taken in."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from orchestrator_core.contracts.base import Fact, Order

__all__ = [
    "ActProgress",
    "CatalogItem",
    "CatalogList",
    "CleanUpOrder",
    "CleanUpReport",
    "DeleteOrder",
    "DeleteReport",
    "DiskUsage",
    "FileCheck",
    "FileState",
    "ImportOrder",
    "ModelList",
    "ModelName",
    "StoredFile",
    "StoredModel",
    "VerifyList",
    "VerifyOrder",
    "VerifyReport",
]

ModelName = Annotated[str, StringConstraints(min_length=1, max_length=512)]
"""An alias, an id or a reference, as a person writes it."""


class FileState(StrEnum):
    """What a file of a model turned out to be."""

    OK = "ok"
    MISSING = "missing"
    DAMAGED = "damaged"
    UNREADABLE = "unreadable"


class StoredFile(Fact):
    """One file of a stored model; path is where it lies on the host."""

    file: str
    size_bytes: int
    sha256: str
    path: str


class StoredModel(Fact):
    """A model that lies on this host whole; file is what an engine opens."""

    id: str
    source: Literal["builtin", "hub", "file"]
    name: str | None = None
    repo: str | None = None
    commit: str | None = None
    quant: str | None = None
    architecture: str | None = None
    trained_ctx: int | None = None
    files: list[StoredFile]
    size_bytes: int
    shared_bytes: int = 0
    """How much of it also lies elsewhere under another name, so that deleting frees it not."""

    added_at: str | None = None
    verified_at: str | None = None
    used_at: str | None = None
    workers: list[str] = Field(default_factory=list[str])
    """The names of the workers that hold it now."""

    fault: str | None = None
    """Why no worker can be started from it, and what helps."""


class ModelList(Fact):
    """All models of a host."""

    items: list[StoredModel]


class CatalogItem(Fact):
    """A model that is known by name; conversion is the command that would make it runnable."""

    id: str
    name: str
    description: str
    aliases: list[str]
    repo: str | None
    file: str
    quant: str | None
    size_bytes: int | None
    license: str | None
    trained_ctx: int
    gated: bool = False
    requires_conversion: bool = False
    conversion: str | None = None
    origin: Literal["packaged", "user"]
    is_here: bool


class CatalogList(Fact):
    """All known models."""

    items: list[CatalogItem]


class VerifyOrder(Order):
    """An order to read every byte of a model again, or of all models."""

    model: ModelName | None = None


class FileCheck(Fact):
    """One file held against what it should be."""

    file: str
    state: FileState
    size_bytes: int | None = None
    expected_sha256: str | None = None
    actual_sha256: str | None = None
    reason: str | None = None


class VerifyReport(Fact):
    """One model held against what it should be."""

    id: str
    ok: bool
    files: list[FileCheck]


class VerifyList(Fact):
    """All models that were held against what they should be."""

    items: list[VerifyReport]


class ActProgress(Fact):
    """How far a long act has come with what it works on at the moment: a file, a model."""

    what: str
    done_bytes: int
    total_bytes: int


class DeleteOrder(Order):
    """An order to delete one model; dry_run only says what would be freed."""

    model: ModelName
    dry_run: bool = False


class DeleteReport(Fact):
    """What deleting a model has freed; kept_bytes lie elsewhere too and take up room still."""

    id: str
    freed_bytes: int
    kept_bytes: int
    files: list[str]
    dry_run: bool = False
    reasons: list[str] = Field(default_factory=list[str])


class CleanUpOrder(Order):
    """An order to delete the models that were used longest ago, until enough is free.

    Without free_bytes everything goes that was not used for unused_s.
    """

    unused_s: Annotated[float, Field(ge=0)] | None = None
    free_bytes: Annotated[int, Field(ge=0)] | None = None
    dry_run: bool = False


class CleanUpReport(Fact):
    """What was deleted, and why each other model was kept."""

    deleted: list[DeleteReport]
    kept: dict[str, str]
    freed_bytes: int
    dry_run: bool = False


class DiskUsage(Fact):
    """What the models of a host take up; partial_bytes belong to downloads that have not ended."""

    folder: str
    models: list[StoredModel]
    model_bytes: int
    shared_bytes: int
    partial_bytes: int
    orphan_bytes: int
    disk_free_bytes: int
    disk_total_bytes: int
    hub_cache_folder: str | None = None
    hub_cache_bytes: int = 0


class ImportOrder(Order):
    """An order to take a file of this host into the store, or what lies in the hub's own cache.

    method says how: auto takes the cheapest that the file system allows. Parts that lie beside the
    first file of a split model come along.
    """

    path: Annotated[str, StringConstraints(min_length=1, max_length=4096)] | None = None
    hub_cache: bool = False
    id: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")] | None = None
    method: Literal["auto", "hardlink", "reflink", "copy"] = "auto"
