"""The library over a real store and a hub on the loopback: download, adopt, import, delete."""

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator_core.contracts.downloads import DownloadOrder, DownloadReport, DownloadStage
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
from support.model_store import Bench, Never, Told, quiet, small_model, split_model, worker_on

REPO = "acme/tiny-GGUF"
SMALL = small_model("Small", extra_bytes=300_000)
LARGE = small_model("Large", extra_bytes=500_000)
FILES = {"tiny-Q4_K_M.gguf": SMALL, "tiny-Q8_0.gguf": LARGE, "README.md": b"# tiny"}
SMALL_ID, LARGE_ID = f"hf:{REPO}:Q4_K_M", f"hf:{REPO}:Q8_0"


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as hub:
        yield hub


@pytest.fixture
def bench(tmp_path: Path, hub: FakeHub) -> Bench:
    hub.add(REPO, FILES)
    return Bench(tmp_path, hub)


def download(bench: Bench, model: str, **fields: object) -> StoredModel:
    order = DownloadOrder.model_validate({"model": model, **fields})
    answer = bench.library.download(order, tell=Told(), cancel=Never())
    assert isinstance(answer, StoredModel), answer
    return answer


def refused(bench: Bench, model: str, **fields: object) -> Refusal:
    told = Told()
    order = DownloadOrder.model_validate({"model": model, **fields})
    answer = bench.library.download(order, tell=told, cancel=Never())
    assert isinstance(answer, Refusal), answer
    assert told.last.has_ended
    assert told.last.error_code == answer.code.value
    assert answer.message.isprintable()
    return answer


def fetched_bytes(hub: FakeHub) -> int:
    return sum(hub.sent_bytes(name) for name in FILES if name.endswith(".gguf"))


def test_a_model_is_downloaded_recorded_and_laid_out(bench: Bench, hub: FakeHub) -> None:
    told = Told()
    answer = bench.library.download(DownloadOrder(model=SMALL_ID), tell=told, cancel=Never())
    assert isinstance(answer, StoredModel), answer
    sha256 = hashlib.sha256(SMALL).hexdigest()
    assert (answer.id, answer.repo, answer.quant) == (SMALL_ID, REPO, "Q4_K_M")
    assert answer.commit is not None
    assert answer.architecture == "llama"
    path = Path(answer.files[0].path)
    assert path.name == "tiny-Q4_K_M.gguf"
    assert path.read_bytes() == SMALL
    assert path.samefile(bench.blob(sha256))
    assert bench.blob(sha256).stat().st_mode & 0o777 == 0o444
    assert told.last.stage is DownloadStage.DONE
    assert told.last.result == answer
    assert told.last.done_bytes == told.last.total_bytes == len(SMALL)
    assert DownloadStage.TRANSFERRING in {report.stage for report in told.reports}
    assert hub.sent_bytes("tiny-Q8_0.gguf") == 0


def test_what_is_here_is_not_asked_of_the_hub_again(bench: Bench, hub: FakeHub) -> None:
    first = download(bench, SMALL_ID)
    hub.forget_requests()
    told = Told()
    again = bench.library.download(DownloadOrder(model=SMALL_ID), tell=told, cancel=Never())
    assert again == first
    assert told.notes == ["it is here already"]
    assert hub.requests == []
    assert download(bench, f"hf:{REPO}").id == SMALL_ID
    assert hub.requests == []


def test_force_fetches_again_and_a_worker_keeps_its_file(bench: Bench, hub: FakeHub) -> None:
    first = download(bench, SMALL_ID)
    with Path(first.files[0].path).open("rb") as running:
        hub.forget_requests()
        again = download(bench, SMALL_ID, force=True)
        assert hub.sent_bytes("tiny-Q4_K_M.gguf") == len(SMALL)
        assert running.read() == SMALL
    assert Path(again.files[0].path).read_bytes() == SMALL
    assert again.files == first.files


def test_two_quants_of_one_repository_at_once_do_not_meet(bench: Bench, hub: FakeHub) -> None:
    answers: dict[str, object] = {}

    def bring(model: str) -> None:
        answers[model] = bench.open().download(
            DownloadOrder(model=model), tell=Told(), cancel=Never()
        )

    threads = [threading.Thread(target=bring, args=(model,)) for model in (SMALL_ID, LARGE_ID)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(isinstance(answer, StoredModel) for answer in answers.values()), answers
    assert fetched_bytes(hub) == len(SMALL) + len(LARGE)
    stored = {model.id: model for model in bench.library.models() if model.source == "hub"}
    assert Path(stored[SMALL_ID].files[0].path).read_bytes() == SMALL
    assert Path(stored[LARGE_ID].files[0].path).read_bytes() == LARGE


def test_two_downloads_of_one_model_are_one_transfer(bench: Bench, hub: FakeHub) -> None:
    gate = threading.Event()
    hub.faults.hold(gate)
    answers: list[object] = []
    waits = threading.Event()
    told = Told()
    told.on_report = lambda report: waits.set() if report.stage is DownloadStage.WAITING else None
    starts = (Told(), told)

    def bring(tell: Told) -> None:
        order = DownloadOrder(model=SMALL_ID)
        answers.append(bench.open().download(order, tell=tell, cancel=Never()))

    threads = [threading.Thread(target=bring, args=(tell,)) for tell in starts]
    threads[0].start()
    hub.wait_for(lambda seen: seen.leg == "cdn")
    threads[1].start()
    assert waits.wait(10)
    gate.set()
    for thread in threads:
        thread.join()
    assert all(isinstance(answer, StoredModel) for answer in answers), answers
    assert hub.sent_bytes("tiny-Q4_K_M.gguf") == len(SMALL)


def test_a_split_model_comes_with_all_of_its_parts(tmp_path: Path, hub: FakeHub) -> None:
    parts = split_model("Q4_K_M/big-Q4_K_M", 3)
    hub.add(REPO, parts)
    bench = Bench(tmp_path, hub)
    stored = download(bench, f"hf:{REPO}:Q4_K_M")
    names = [Path(file.path).name for file in stored.files]
    assert names == [f"big-Q4_K_M-0000{number}-of-00003.gguf" for number in (1, 2, 3)]
    assert len({Path(file.path).parent for file in stored.files}) == 1
    model = ModelFile(model_id=stored.id, source="hub", file=stored.files[0].file)
    assert isinstance(bench.library.host_models().locate(model), Located)


def test_what_reads_images_comes_along_unless_it_is_left_out(tmp_path: Path, hub: FakeHub) -> None:
    hub.add(REPO, {**FILES, "mmproj-F16.gguf": small_model("Eyes")})
    bench = Bench(tmp_path, hub)
    blind = download(bench, SMALL_ID, mmproj=False)
    assert [file.file for file in blind.files] == ["tiny-Q4_K_M.gguf"]
    seeing = download(bench, SMALL_ID)
    assert [file.file for file in seeing.files] == ["tiny-Q4_K_M.gguf", "mmproj-F16.gguf"]


def test_a_file_that_is_no_model_is_not_recorded(tmp_path: Path, hub: FakeHub) -> None:
    hub.add(REPO, {"tiny-Q4_K_M.gguf": b"GGUF nothing that an engine reads" * 40})
    bench = Bench(tmp_path, hub)
    assert refused(bench, SMALL_ID).code is Code.MODEL_INCOMPATIBLE
    assert [model for model in bench.library.models() if model.source == "hub"] == []
    assert list((bench.store / "blobs").iterdir()) == []


def test_wrong_bytes_of_the_right_size_never_become_a_model(bench: Bench, hub: FakeHub) -> None:
    hub.faults.wrong_bytes(times=9)
    assert refused(bench, SMALL_ID).code is Code.DATA_CORRUPT
    assert list((bench.store / "blobs").iterdir()) == []


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


def test_parts_that_are_not_all_of_a_model_are_refused(tmp_path: Path, hub: FakeHub) -> None:
    lone = small_model(values={"split.no": 0, "split.count": 3})
    hub.add(REPO, {"tiny-Q4_K_M.gguf": lone})
    answer = refused(Bench(tmp_path, hub), SMALL_ID)
    assert answer.code is Code.MODEL_INCOMPATIBLE
    assert "it says that it has 3 parts and comes in 1" in answer.message


CATALOG = """
[[models]]
id = "mine"
aliases = ["m"]
trained_ctx = 2048
[models.file]
source = "hub"
repo = "acme/tiny-GGUF"
file = "tiny-Q4_K_M.gguf"
sha256 = "{sha256}"
"""


def test_a_catalogue_id_brings_what_the_catalogue_knows(tmp_path: Path, hub: FakeHub) -> None:
    hub.add(REPO, FILES)
    catalog = CATALOG.format(sha256=hashlib.sha256(SMALL).hexdigest())
    bench = Bench(tmp_path, hub, catalog=catalog)
    assert not next(item for item in bench.library.catalog() if item.id == "mine").is_here
    assert download(bench, "m").id == "mine"
    assert next(item for item in bench.library.catalog() if item.id == "mine").is_here
    assert download(bench, SMALL_ID).id == "mine"


def test_a_file_that_the_catalogue_does_not_know_is_refused(tmp_path: Path, hub: FakeHub) -> None:
    hub.add(REPO, FILES)
    bench = Bench(tmp_path, hub, catalog=CATALOG.format(sha256="0" * 64))
    answer = refused(bench, "mine")
    assert answer.code is Code.DATA_CORRUPT
    assert "is not the file that the catalogue knows" in answer.message
    assert fetched_bytes(hub) == 0


@pytest.mark.parametrize(
    ("model", "code"),
    [
        (f"hf:{REPO}:Q2_K", Code.MODEL_NOT_FOUND),
        ("hf:acme/nowhere:Q4_K_M", Code.MODEL_NOT_FOUND),
        ("no-such-model", Code.MODEL_NOT_FOUND),
        ("file:/tmp/x.gguf", Code.INVALID_REQUEST),
        ("hf:acme", Code.INVALID_REQUEST),
    ],
)
def test_what_cannot_be_fetched_is_refused(bench: Bench, model: str, code: Code) -> None:
    assert refused(bench, model).code is code


def test_a_gated_model_is_refused_before_anything_is_deleted(tmp_path: Path, hub: FakeHub) -> None:
    hub.add(REPO, FILES, gated=True)
    bench = Bench(tmp_path, hub)
    bench.disk.bytes_free = 0
    assert refused(bench, SMALL_ID, make_room=True).code is Code.MODEL_GATED


def test_a_full_disk_is_refused_before_the_transfer(bench: Bench, hub: FakeHub) -> None:
    bench.disk.bytes_free = len(SMALL) - 1
    answer = refused(bench, SMALL_ID)
    assert answer.code is Code.DISK_LOW
    assert fetched_bytes(hub) == 0


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


class OnceSomeIsHere:
    """Wants an act to stop as soon as a part of the file has come."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def is_set(self) -> bool:
        return any(path.stat().st_size for path in self._folder.glob("*.part"))


def test_a_cancelled_download_goes_on_where_it_stopped(bench: Bench, hub: FakeHub) -> None:
    told = Told()
    hub.faults.hold(threading.Event(), after_bytes=100_000)
    cancel = OnceSomeIsHere(bench.store / "partial")
    answer = bench.library.download(DownloadOrder(model=SMALL_ID), tell=told, cancel=cancel)
    assert isinstance(answer, Refusal)
    assert answer.code is Code.CANCELLED
    assert told.last.stage is DownloadStage.CANCELLED
    here = bench.library.usage([]).partial_bytes
    assert here > 0
    hub.faults.let_go()
    hub.forget_requests()
    download(bench, SMALL_ID)
    assert hub.sent_bytes("tiny-Q4_K_M.gguf") < len(SMALL)


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


def verified(bench: Bench, model: str | None = None) -> list[VerifyReport]:
    reports = bench.library.verify(VerifyOrder(model=model), tell=quiet, cancel=Never())
    assert isinstance(reports, list), reports
    return reports


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


EXPECTED = {Code.CONFLICT, Code.MODEL_NOT_PULLED}
