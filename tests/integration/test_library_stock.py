"""What a library has is kept, verified, renewed and deleted, also while others fetch."""

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator_core.contracts.downloads import DownloadOrder, DownloadReport
from orchestrator_core.contracts.model_info import InfoOrder, ModelInfo
from orchestrator_core.contracts.models import (
    CleanUpOrder,
    DeleteOrder,
    StoredModel,
    VerifyOrder,
    VerifyReport,
)
from orchestrator_core.contracts.pool import ModelFile
from orchestrator_core.errors import Code, Refusal
from pool_core.catalog.located import Located
from support.fake_hub import FakeHub
from support.model_store import Bench, Never, Told, quiet, small_model, worker_on
from support.tiny_library import (
    FILES,
    LARGE,
    LARGE_ID,
    REPO,
    SMALL,
    SMALL_ID,
    download,
)

EXPECTED = {Code.CONFLICT, Code.MODEL_NOT_PULLED}


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as hub:
        yield hub


@pytest.fixture
def bench(tmp_path: Path, hub: FakeHub) -> Bench:
    hub.add(REPO, FILES)
    return Bench(tmp_path, hub)


def verified(bench: Bench, model: str | None = None) -> list[VerifyReport]:
    reports = bench.library.verify(VerifyOrder(model=model), tell=quiet, cancel=Never())
    assert isinstance(reports, list), reports
    return reports


def test_force_fetches_again_and_a_worker_keeps_its_file(bench: Bench, hub: FakeHub) -> None:
    first = download(bench, SMALL_ID)
    with Path(first.files[0].path).open("rb") as running:
        hub.forget_requests()
        again = download(bench, SMALL_ID, force=True)
        assert hub.sent_bytes("tiny-Q4_K_M.gguf") == len(SMALL)
        assert running.read() == SMALL
    assert Path(again.files[0].path).read_bytes() == SMALL
    assert again.files == first.files


def test_a_new_version_takes_the_place_of_the_old_one(bench: Bench, hub: FakeHub) -> None:
    first = download(bench, SMALL_ID)
    newer = small_model("Newer", extra_bytes=200_000)
    hub.change(REPO, "tiny-Q4_K_M.gguf", newer)
    assert download(bench, SMALL_ID) == first
    second = download(bench, SMALL_ID, force=True)
    assert second.commit != first.commit
    assert Path(second.files[0].path).read_bytes() == newer
    assert not bench.blob(first.files[0].sha256).exists()
    stored = [model.id for model in bench.library.models() if model.source == "hub"]
    assert stored == [SMALL_ID]


def test_a_revision_is_a_model_of_its_own(bench: Bench, hub: FakeHub) -> None:
    hub.tag(REPO, "v1")
    old = download(bench, f"hf:{REPO}@v1:Q4_K_M")
    hub.change(REPO, "tiny-Q4_K_M.gguf", small_model("Newer", extra_bytes=200_000))
    new = download(bench, SMALL_ID)
    assert (old.id, new.id) == (f"hf:{REPO}@v1:Q4_K_M", SMALL_ID)
    assert old.commit != new.commit
    assert old.commit is not None
    assert download(bench, f"hf:{REPO}@{old.commit}:Q4_K_M").id == old.id


def test_room_is_made_by_deleting_what_was_used_longest_ago(bench: Bench) -> None:
    download(bench, SMALL_ID)
    bench.clock.pass_s(7200)
    full = bench.disk.bytes_free = 1000
    told = Told()
    order = DownloadOrder(model=LARGE_ID, make_room=True)

    def look(report: object) -> None:
        # What the deleted model took up is free from that moment on.
        gone = not bench.blob(hashlib.sha256(SMALL).hexdigest()).exists()
        bench.disk.bytes_free = len(LARGE) if gone else full

    told.on_report = look
    answer = bench.library.download(order, tell=told, cancel=Never())
    assert isinstance(answer, Refusal)
    assert answer.code is Code.DISK_LOW
    assert bench.blob(hashlib.sha256(SMALL).hexdigest()).exists()
    full = bench.disk.bytes_free = len(LARGE) - len(SMALL)
    answer = bench.library.download(order, tell=told, cancel=Never())
    assert isinstance(answer, StoredModel), answer
    assert f"deleted {SMALL_ID} to make room" in told.notes
    assert [model.id for model in bench.library.models() if model.source == "hub"] == [LARGE_ID]


def test_info_of_a_model_that_is_not_here_reads_only_its_header(bench: Bench, hub: FakeHub) -> None:
    info = bench.library.info(InfoOrder(model=SMALL_ID), [])
    assert isinstance(info, ModelInfo), info
    assert not info.is_here
    assert (info.id, info.architecture, info.blocks) == (SMALL_ID, "llama", 2)
    assert info.size_bytes == len(SMALL)
    assert info.header_bytes_read is not None
    assert info.header_bytes_read == hub.sent_bytes("tiny-Q4_K_M.gguf") < len(SMALL)
    stored = download(bench, SMALL_ID)
    hub.forget_requests()
    here = bench.library.info(InfoOrder(model=f"hf:{REPO}"), [])
    assert isinstance(here, ModelInfo), here
    assert here.is_here
    assert here.files == stored.files
    assert hub.requests == []


def test_a_damaged_blob_is_found_and_force_mends_it(bench: Bench) -> None:
    stored = download(bench, SMALL_ID)
    blob = bench.blob(stored.files[0].sha256)
    blob.chmod(0o644)
    blob.write_bytes(b"X" + SMALL[1:])
    (report,) = verified(bench, SMALL_ID)
    assert not report.ok
    model = ModelFile(model_id=SMALL_ID, source="hub", file="tiny-Q4_K_M.gguf")
    answer = bench.library.host_models().locate(model)
    assert isinstance(answer, Refusal)
    assert answer.code is Code.DATA_CORRUPT
    assert f"llorch-pool models download {SMALL_ID} --force" in answer.message
    download(bench, SMALL_ID)
    (report,) = verified(bench, SMALL_ID)
    assert report.ok
    assert isinstance(bench.library.host_models().locate(model), Located)


def test_a_model_in_use_is_not_deleted(bench: Bench) -> None:
    stored = download(bench, SMALL_ID)
    model = ModelFile(model_id=SMALL_ID, source="hub", file="tiny-Q4_K_M.gguf")
    answer = bench.library.delete(DeleteOrder(model=SMALL_ID), [worker_on(model)])
    assert isinstance(answer, Refusal)
    assert answer.code is Code.CONFLICT
    assert "llorch-pool worker stop cpu-1" in answer.message
    dry = bench.library.delete(DeleteOrder(model=SMALL_ID, dry_run=True), [])
    assert not isinstance(dry, Refusal)
    assert dry.freed_bytes == len(SMALL)
    assert Path(stored.files[0].path).exists()
    gone = bench.library.delete(DeleteOrder(model=SMALL_ID), [])
    assert not isinstance(gone, Refusal)
    assert not Path(stored.files[0].path).exists()
    assert bench.library.usage([]).model_bytes == 0


def test_a_clean_up_keeps_what_is_in_use_or_fresh(bench: Bench) -> None:
    download(bench, SMALL_ID)
    bench.clock.pass_s(90_000)
    download(bench, LARGE_ID)
    report = bench.library.clean_up(CleanUpOrder(unused_s=0), [])
    assert not isinstance(report, Refusal)
    assert [it.id for it in report.deleted] == [SMALL_ID]
    assert report.freed_bytes == len(SMALL)
    assert "used" in report.kept[LARGE_ID]
    assert report.kept["tiny-chat"] == "it comes with llama-orch"


def test_a_content_that_goes_before_its_record_is_written_is_fetched_again(
    bench: Bench, hub: FakeHub
) -> None:
    blob = bench.blob(hashlib.sha256(SMALL).hexdigest())
    told = Told()
    taken: list[int] = []

    def take_away(report: DownloadReport) -> None:
        if report.files_done == 1 and not taken:
            taken.append(1)
            blob.unlink()

    told.on_report = take_away
    answer = bench.library.download(DownloadOrder(model=SMALL_ID), tell=told, cancel=Never())
    assert isinstance(answer, StoredModel), answer
    assert blob.read_bytes() == SMALL
    assert hub.sent_bytes("tiny-Q4_K_M.gguf") == 2 * len(SMALL)


def test_downloads_and_deletions_at_once_leave_only_whole_models(bench: Bench) -> None:
    wrong: list[object] = []

    def bring(model: str) -> None:
        for _ in range(12):
            order = DownloadOrder(model=model)
            answer = bench.open().download(order, tell=Told(), cancel=Never())
            if isinstance(answer, Refusal):
                wrong.append(answer)

    def take_away(model: str) -> None:
        for _ in range(12):
            answer = bench.open().delete(DeleteOrder(model=model), [])
            if isinstance(answer, Refusal) and answer.code not in EXPECTED:
                wrong.append(answer)

    threads = [
        threading.Thread(target=act, args=(model,))
        for act in (bring, take_away)
        for model in (SMALL_ID, LARGE_ID)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert all(report.ok for report in verified(bench))
    assert bench.library.usage([]).orphan_bytes == 0
