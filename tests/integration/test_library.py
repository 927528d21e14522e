"""The library over a real store and a hub on the loopback: what is fetched, and what is refused."""

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator_core.contracts.downloads import DownloadOrder, DownloadStage
from orchestrator_core.contracts.models import (
    StoredModel,
)
from orchestrator_core.contracts.pool import ModelFile
from orchestrator_core.errors import Code, Refusal
from pool_core.catalog.located import Located
from support.fake_hub import FakeHub
from support.model_store import Bench, Never, Told, small_model, split_model
from support.tiny_library import (
    FILES,
    LARGE,
    LARGE_ID,
    REPO,
    SMALL,
    SMALL_ID,
    download,
    fetched_bytes,
    refused,
)


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as hub:
        yield hub


@pytest.fixture
def bench(tmp_path: Path, hub: FakeHub) -> Bench:
    hub.add(REPO, FILES)
    return Bench(tmp_path, hub)


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
