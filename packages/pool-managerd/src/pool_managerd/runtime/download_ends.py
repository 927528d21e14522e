"""Says with what report a download ends, from the last one of its thread and its result: pure."""

from orchestrator_core.contracts.downloads import DownloadReport, DownloadStage
from orchestrator_core.contracts.models import StoredModel
from orchestrator_core.errors import Code, Refusal

__all__ = ["last_report"]


def last_report(before: DownloadReport, result: StoredModel | Refusal) -> DownloadReport:
    """The report after which nothing comes; it counts on from the one before."""
    changes = _refused(result) if isinstance(result, Refusal) else _done(before, result)
    return before.model_copy(update=changes)


def _refused(refusal: Refusal) -> dict[str, object]:
    is_cancelled = refusal.code is Code.CANCELLED
    return {
        "stage": DownloadStage.CANCELLED if is_cancelled else DownloadStage.FAILED,
        "note": None,
        "error_code": refusal.code.value,
        "error_message": refusal.message,
    }


def _done(before: DownloadReport, model: StoredModel) -> dict[str, object]:
    files_total = max(before.files_total, len(model.files))
    total_bytes = before.total_bytes or model.size_bytes
    return {
        "stage": DownloadStage.DONE,
        "model_id": model.id,
        "file": None,
        "files_done": files_total,
        "files_total": files_total,
        "done_bytes": total_bytes,
        "total_bytes": total_bytes,
        "result": model,
    }
