"""Tells how a download of several files goes, as one report after the other.

What was here before counts as done and never as fetched, so that speeds stay honest.
"""

from collections.abc import Callable

from orchestrator_core.contracts.downloads import DownloadReport, DownloadStage
from orchestrator_core.contracts.models import StoredModel
from orchestrator_core.errors import Code, Refusal
from pool_core.fetch.hub_answers import RemoteFile
from pool_core.fetch.news import TransferNews

__all__ = ["Telling"]


class Telling:
    """The report of one download."""

    def __init__(self, model: str, tell: Callable[[DownloadReport], None]) -> None:
        self._tell = tell
        self._report = DownloadReport(model=model, stage=DownloadStage.RESOLVING)
        self._done_before_bytes = 0
        self._fetched_before_bytes = 0
        self._remembered: str | None = None

    def begin(self) -> None:
        """It has begun."""
        self._say()

    def selected(self, model_id: str, files: int, total_bytes: int) -> None:
        """It is clear now what will be brought."""
        self._done_before_bytes = 0
        self._say(model_id=model_id, files_total=files, total_bytes=total_bytes, files_done=0)

    def remember(self, line: str) -> None:
        """Something that a person should still know at the end; the last one counts."""
        self._remembered = line

    def note(self, line: str) -> None:
        """Something that a person should know."""
        self._say(note=line)

    def news(self, file: RemoteFile, news: TransferNews) -> None:
        """One file has come further."""
        stage = news.stage if news.stage is not DownloadStage.DONE else DownloadStage.VERIFYING
        fetched_bytes = self._fetched_before_bytes + news.fetched_bytes
        self._say(
            stage=stage,
            file=file.path,
            done_bytes=self._done_before_bytes + min(news.done_bytes, file.size_bytes),
            # Whoever only reads a file tells of no bytes that came, and takes none of them back.
            fetched_bytes=max(self._report.fetched_bytes, fetched_bytes),
            note=news.note,
            source=news.source or self._report.source,
        )

    def file_done(self, file: RemoteFile) -> None:
        """One file is here whole."""
        self._done_before_bytes += file.size_bytes
        self._fetched_before_bytes = self._report.fetched_bytes
        self._say(
            file=file.path,
            files_done=self._report.files_done + 1,
            done_bytes=self._done_before_bytes,
            note=None,
        )

    def done(self, model: StoredModel, note: str | None = None) -> None:
        """Everything is here."""
        count = len(model.files)
        self._say(
            stage=DownloadStage.DONE,
            model_id=model.id,
            file=None,
            files_done=count,
            files_total=count,
            done_bytes=model.size_bytes,
            total_bytes=model.size_bytes,
            note=note or self._remembered,
            result=model,
        )

    def ended(self, refusal: Refusal) -> None:
        """It comes to nothing."""
        is_cancelled = refusal.code is Code.CANCELLED
        self._say(
            stage=DownloadStage.CANCELLED if is_cancelled else DownloadStage.FAILED,
            note=None,
            error_code=refusal.code.value,
            error_message=refusal.message,
        )

    def _say(self, **changes: object) -> None:
        self._report = self._report.model_copy(update=changes)
        self._tell(self._report)
