"""What is said about a model on its way to a host: the order, and how far it has come."""

from enum import StrEnum
from typing import Literal

from orchestrator_core.contracts.base import Fact, Order
from orchestrator_core.contracts.models import ModelName, StoredModel

__all__ = [
    "DownloadList",
    "DownloadOrder",
    "DownloadReport",
    "DownloadStage",
]


class DownloadOrder(Order):
    """An order to bring a model to this host; force fetches again what is there.

    make_room allows that models nobody has used for the longest time are deleted first.
    """

    model: ModelName
    via: Literal["native", "hf"] = "native"
    force: bool = False
    make_room: bool = False
    mmproj: bool = True


class DownloadStage(StrEnum):
    """How far a download has come."""

    QUEUED = "queued"
    RESOLVING = "resolving"
    WAITING = "waiting"
    """Somebody else transfers the same file."""

    TRANSFERRING = "transferring"
    VERIFYING = "verifying"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class DownloadReport(Fact):
    """A download at one moment; done_bytes counts what was there already, fetched_bytes does not."""

    id: str = ""
    model: str
    model_id: str | None = None
    stage: DownloadStage
    file: str | None = None
    files_done: int = 0
    files_total: int = 0
    done_bytes: int = 0
    total_bytes: int | None = None
    fetched_bytes: int = 0
    source: str | None = None
    """Who sends, or sent last: `hub`, or `peer` and the name of another pool."""

    note: str | None = None
    """A line for a person: why it waits, what is tried again."""

    error_code: str | None = None
    error_message: str | None = None
    result: StoredModel | None = None

    @property
    def has_ended(self) -> bool:
        """True when nothing more will come."""
        return self.stage in (DownloadStage.DONE, DownloadStage.FAILED, DownloadStage.CANCELLED)


class DownloadList(Fact):
    """The downloads that run, and those that ended lately."""

    items: list[DownloadReport]
