"""The last report of a download counts on from the one before and says how it ended."""

import pytest

from orchestrator_core.contracts.downloads import DownloadReport, DownloadStage
from orchestrator_core.errors import Code, Refusal
from pool_managerd.runtime.download_ends import last_report
from support.fake_library import stored

RUNNING = DownloadReport(
    id="dwn_1",
    model="tiny",
    stage=DownloadStage.TRANSFERRING,
    file="tiny.gguf",
    files_done=1,
    files_total=2,
    done_bytes=600,
    total_bytes=1500,
    fetched_bytes=400,
    note="tried again",
)


@pytest.mark.parametrize(
    ("code", "stage"),
    [
        (Code.CANCELLED, DownloadStage.CANCELLED),
        (Code.DISK_LOW, DownloadStage.FAILED),
        (Code.DRAINING, DownloadStage.FAILED),
    ],
)
def test_a_refusal_keeps_what_was_reached(code: Code, stage: DownloadStage) -> None:
    last = last_report(RUNNING, Refusal(code, "why"))
    assert (last.stage, last.error_code, last.error_message) == (stage, code.value, "why")
    assert (last.files_done, last.done_bytes, last.total_bytes, last.fetched_bytes) == (
        1, 600, 1500, 400,
    )  # fmt: skip
    assert (last.note, last.result) == (None, None)


def test_what_is_done_is_whole() -> None:
    last = last_report(RUNNING, stored("tiny-id", 1500))
    assert (last.stage, last.model_id) == (DownloadStage.DONE, "tiny-id")
    assert (last.files_done, last.files_total) == (2, 2)
    assert (last.done_bytes, last.total_bytes, last.fetched_bytes) == (1500, 1500, 400)


def test_what_was_there_already_is_whole_though_nothing_was_told() -> None:
    queued = DownloadReport(model="tiny", stage=DownloadStage.QUEUED)
    last = last_report(queued, stored(size_bytes=1000))
    assert (last.files_done, last.files_total) == (1, 1)
    assert (last.done_bytes, last.total_bytes, last.fetched_bytes) == (1000, 1000, 0)
