"""Downloads beside other downloads, over odd things in the store, and of renamed repositories."""

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator_core.contracts.downloads import DownloadOrder, DownloadReport, DownloadStage
from orchestrator_core.contracts.models import StoredModel
from orchestrator_core.errors import Code, Refusal
from support.fake_hub import FakeHub
from support.model_store import Bench, Never, Told, small_model

REPO = "acme/tiny-GGUF"
SMALL = small_model("Small", extra_bytes=300_000)
FILES = {"tiny-Q4_K_M.gguf": SMALL, "tiny-Q8_0.gguf": small_model("Large")}
SMALL_ID = f"hf:{REPO}:Q4_K_M"


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as hub:
        yield hub


@pytest.fixture
def bench(tmp_path: Path, hub: FakeHub) -> Bench:
    hub.add(REPO, FILES)
    return Bench(tmp_path, hub)


def download(bench: Bench, model: str) -> StoredModel:
    answer = bench.library.download(DownloadOrder(model=model), tell=Told(), cancel=Never())
    assert isinstance(answer, StoredModel), answer
    return answer


def refused(bench: Bench, model: str) -> Refusal:
    answer = bench.library.download(DownloadOrder(model=model), tell=Told(), cancel=Never())
    assert isinstance(answer, Refusal), answer
    return answer


def test_two_downloads_in_place_of_one_damaged_file_both_end_well(
    bench: Bench, hub: FakeHub
) -> None:
    download(bench, SMALL_ID)
    gate, waits, answers = threading.Event(), threading.Event(), list[object]()
    hub.faults.hold(gate)
    told = Told()
    told.on_report = lambda report: waits.set() if report.stage is DownloadStage.WAITING else None

    def bring() -> None:
        order = DownloadOrder(model=SMALL_ID, force=True)
        answers.append(bench.open().download(order, tell=told, cancel=Never()))

    threads = [threading.Thread(target=bring) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert waits.wait(30)
    gate.set()
    for thread in threads:
        thread.join()
    assert [type(answer) for answer in answers] == [StoredModel] * 3, answers
    (model,) = (model for model in bench.library.models() if model.id == SMALL_ID)
    assert Path(model.files[0].path).read_bytes() == SMALL
    assert bench.library.usage([]).partial_bytes == 0


def test_a_whole_file_that_another_download_has_placed_is_no_fault(
    bench: Bench, hub: FakeHub
) -> None:
    download(bench, SMALL_ID)
    sha256 = hashlib.sha256(SMALL).hexdigest()
    fresh = bench.store / "partial" / f"{sha256}.fresh"
    told = Told()

    def place(report: DownloadReport) -> None:
        # The transfer is over: now the other one is a moment faster.
        if report.stage is DownloadStage.VERIFYING and fresh.exists():
            fresh.replace(bench.blob(sha256))

    told.on_report = place
    order = DownloadOrder(model=SMALL_ID, force=True)
    answer = bench.library.download(order, tell=told, cancel=Never())
    assert isinstance(answer, StoredModel), answer
    assert not fresh.exists()


def test_a_folder_in_the_place_of_a_file_is_told_before_anything_is_fetched(
    bench: Bench, hub: FakeHub
) -> None:
    place = bench.blob(hashlib.sha256(SMALL).hexdigest())
    place.mkdir(parents=True)
    refusal = refused(bench, SMALL_ID)
    assert f"remove {place}" in refusal.message
    assert hub.sent_bytes("tiny-Q4_K_M.gguf") == 0


def test_a_repository_that_was_renamed_and_closed_is_explained_at_once(
    bench: Bench, hub: FakeHub
) -> None:
    hub.rename(REPO, "newer/small-GGUF")
    assert download(bench, SMALL_ID).repo == REPO
    hub.add("acme/terms-GGUF", FILES, gated=True)
    hub.rename("acme/terms-GGUF", "newer/terms-GGUF")
    hub.forget_requests()
    refusal = refused(bench, "hf:acme/terms-GGUF:Q8_0")
    assert refusal.code is Code.MODEL_GATED
    assert len(hub.requests) < 12
