"""Leaves out of answers to an orchestrator where files lie on this host: it names models: pure."""

from typing import TypeVar

from orchestrator_core.contracts.downloads import DownloadReport
from orchestrator_core.contracts.model_info import ModelInfo
from orchestrator_core.contracts.models import StoredModel
from pool_managerd.runtime.keyring import Caller

__all__ = ["report_for", "told_to"]

M = TypeVar("M", StoredModel, ModelInfo)


def told_to(caller: Caller, model: M) -> M:
    """What a caller may know of a model; only the operator reads the paths of its files."""
    if caller is Caller.OPERATOR:
        return model
    files = [file.model_copy(update={"path": ""}) for file in model.files]
    return model.model_copy(update={"files": files})


def report_for(caller: Caller, report: DownloadReport) -> DownloadReport:
    """What a caller may know of a download."""
    if report.result is None:
        return report
    return report.model_copy(update={"result": told_to(caller, report.result)})
