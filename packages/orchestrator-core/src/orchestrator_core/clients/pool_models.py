"""Typed calls about the models of a pool: look, bring, check, delete and take in.

The names and orders are those of the library that answers where no daemon runs, so that a command
does the same either way. Failures are errors of the tree; nothing here reads a file.
"""

import contextlib
import re
from collections.abc import Callable, Generator, Iterator
from typing import Final, TypeVar

from pydantic import BaseModel

from orchestrator_core.clients.act_stream import OnOpen, Tell, carry_out
from orchestrator_core.clients.download_stream import follow_reports
from orchestrator_core.clients.http import HttpCaller
from orchestrator_core.clients.resume import Resume
from orchestrator_core.contracts.base import Order
from orchestrator_core.contracts.downloads import DownloadList, DownloadOrder, DownloadReport
from orchestrator_core.contracts.model_info import InfoOrder, ModelInfo
from orchestrator_core.contracts.models import (
    CatalogItem,
    CatalogList,
    CleanUpOrder,
    CleanUpReport,
    DeleteOrder,
    DeleteReport,
    DiskUsage,
    ImportOrder,
    ModelList,
    StoredModel,
    VerifyList,
    VerifyOrder,
    VerifyReport,
)
from orchestrator_core.errors import Code, LlorchError, PeerError, Refusal, error_for

__all__ = ["PoolModels"]

M = TypeVar("M", bound=BaseModel)

_DOWNLOAD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
# The pool may have to ask a hub, or to walk over a large cache, before it can answer.
_SLOW_S: Final = 120.0
# Whoever cancels has waited long enough already.
_CANCEL_S: Final = 5.0


class PoolModels:
    """What a person or a script asks of the models of a pool."""

    def __init__(self, caller: HttpCaller) -> None:
        self._caller = caller

    def models(self) -> list[StoredModel]:
        """Read what lies on the host."""
        return self._call("GET", "/models", ModelList).items

    def catalog(self) -> list[CatalogItem]:
        """Read what is known by name."""
        return self._call("GET", "/models/catalog", CatalogList).items

    def info(self, order: InfoOrder) -> ModelInfo:
        """Ask what a model is and where it would fit, downloaded or not."""
        path = "/models/info"
        return self._call("POST", path, ModelInfo, body=order, timeout_s=_SLOW_S)

    def download(self, order: DownloadOrder) -> DownloadReport:
        """Order a model; returns at once. The same model twice is one download with one id."""
        return self._call("POST", "/models/download", DownloadReport, body=order)

    def downloads(self) -> list[DownloadReport]:
        """Read the downloads that run, and those that ended lately."""
        return self._call("GET", "/models/downloads", DownloadList).items

    def download_report(self, download_id: str) -> DownloadReport:
        """Read how far one download is."""
        return self._call("GET", _path(download_id), DownloadReport)

    def follow_download(
        self,
        download_id: str,
        *,
        resume: Resume | None = None,
        on_cut: Callable[[str], None] | None = None,
    ) -> Iterator[DownloadReport]:
        """Yield the newest report after each change, the last one at the end, across cuts.

        A download that failed or was cancelled ends like any other: its last report says why.
        """
        path = f"{_path(download_id)}/events"
        return follow_reports(self._caller, path, resume=resume or Resume(), on_cut=on_cut)

    def cancel_download(self, download_id: str) -> DownloadReport:
        """Cancel a download; what was fetched is kept. One that has ended stays as it is."""
        path = _path(download_id)
        return self._call("DELETE", path, DownloadReport, timeout_s=_CANCEL_S)

    def verify(
        self,
        order: VerifyOrder,
        *,
        tell: Tell | None = None,
        on_open: OnOpen | None = None,
    ) -> list[VerifyReport]:
        """Let every byte be read again; leaving (Ctrl-C) ends the reading.

        tell hears the file, the bytes read and the bytes there are; on_open gets a way to leave.
        """
        path = "/models/verify"
        with self._understood(path):
            done = carry_out(
                self._caller, path, order, reply=VerifyList, tell=tell, on_open=on_open
            )
        return done.items

    def delete(self, order: DeleteOrder) -> DeleteReport:
        """Delete one model."""
        path = "/models/delete"
        return self._call("POST", path, DeleteReport, body=order, timeout_s=_SLOW_S)

    def clean_up(self, order: CleanUpOrder) -> CleanUpReport:
        """Delete the models that nobody has used for the longest time."""
        path = "/models/clean-up"
        return self._call("POST", path, CleanUpReport, body=order, timeout_s=_SLOW_S)

    def usage(self) -> DiskUsage:
        """Read what the models take up."""
        return self._call("GET", "/models/disk-usage", DiskUsage, timeout_s=_SLOW_S)

    def take_in(
        self,
        order: ImportOrder,
        *,
        tell: Tell | None = None,
        on_open: OnOpen | None = None,
    ) -> list[StoredModel]:
        """Take a file of the host into the store; leaving (Ctrl-C) ends it and leaves no half.

        tell hears the file, the bytes done and the bytes there are; on_open gets a way to leave.
        """
        path = "/models/import"
        with self._understood(path):
            done = carry_out(self._caller, path, order, reply=ModelList, tell=tell, on_open=on_open)
        return done.items

    def _call(
        self,
        method: str,
        path: str,
        reply: type[M],
        *,
        body: Order | None = None,
        timeout_s: float | None = None,
    ) -> M:
        with self._understood(path):
            return self._caller.call(method, path, reply, body=body, timeout_s=timeout_s)

    @contextlib.contextmanager
    def _understood(self, path: str) -> Generator[None]:
        """Explain the answer of a daemon that has never heard of models."""
        try:
            yield
        except LlorchError as error:
            if error.code is not Code.NOT_FOUND or error.refusal.message != f"there is no {path}":
                raise
            peer = self._caller.peer
            text = (
                f"{peer.name} at {peer.url} is older than this command and knows nothing of models: "
                "stop it and start it again: llorch-pool daemon stop, llorch-pool daemon start"
            )
            raise PeerError(Refusal(Code.INTERNAL, text)) from error


def _path(download_id: str) -> str:
    if not _DOWNLOAD.fullmatch(download_id):
        # No download has such an id, and in a path it could mean another route.
        text = f"no download has the id {download_id[:80]!r}"
        raise error_for(Refusal(Code.NOT_FOUND, text))
    return f"/models/downloads/{download_id}"
