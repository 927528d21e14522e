import errno
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from orchestrator_core.contracts.downloads import DownloadOrder
from orchestrator_core.contracts.models import DeleteOrder, ImportOrder
from orchestrator_core.contracts.pool import ModelFile
from orchestrator_core.errors import Code, Refusal, RequestError
from pool_core.catalog.library import Library
from pool_core.catalog.located import Located
from pool_core.catalog.store.records import ModelRecord, RecordedFile, Records
from pool_core.catalog.store.store import Store
from support.model_store import Bench, Never, Told, quiet, small_model, split_model


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def take(bench: Bench, name: str, data: bytes) -> None:
    path = bench.folder / f"{name}.gguf"
    path.write_bytes(data)
    whole = ImportOrder(path=str(path), method="copy")
    taken = bench.library.take_in(whole, tell=quiet, cancel=Never())
    assert isinstance(taken, list), taken


def order(model_id: str, **fields: object) -> ModelFile:
    known: dict[str, object] = {"model_id": model_id, "source": "file", "file": "any.gguf"}
    return ModelFile.model_validate(known | fields)


def test_nothing_is_made_before_something_is_put_in(bench: Bench) -> None:
    library = bench.library
    assert [model.source for model in library.models()] == ["builtin", "builtin"]
    library.catalog()
    library.host_models().reports()
    assert library.usage([]).model_bytes == 0
    assert not bench.store.exists()


@pytest.mark.parametrize("folder", ["models", "./models", "~/models"])
def test_a_folder_must_be_named_by_its_whole_path(bench: Bench, folder: str) -> None:
    with pytest.raises(RequestError, match="whole path") as caught:
        Library.open(Path(folder), bench.layout, bench.env)
    assert caught.value.code is Code.CONFIG_INVALID


def test_reports_follow_every_change(bench: Bench) -> None:
    models = bench.library.host_models()
    assert len(models.reports()) == 2
    take(bench, "mine", small_model())
    assert [report.id for report in models.reports()][2:] == ["mine"]
    take(bench, "other", small_model("other"))
    assert [report.id for report in models.reports()][2:] == ["mine", "other"]
    bench.library.delete(DeleteOrder(model="mine"), [])
    assert [report.id for report in models.reports()][2:] == ["other"]


def test_reports_read_no_record_while_nothing_changes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(bench, "mine", small_model())
    for folder in ("records", "blobs"):
        os.utime(bench.store / folder, (1_000_000_000, 1_000_000_000))
    models = bench.library.host_models()
    before = models.reports()

    def unreadable(self: Records) -> None:
        raise AssertionError(f"{self} was read again")

    monkeypatch.setattr(Records, "all", unreadable)
    assert models.reports() == before
    os.utime(bench.store / "blobs")
    with pytest.raises(AssertionError):
        models.reports()


def test_a_shelf_that_was_lost_is_laid_out_again(bench: Bench) -> None:
    for name, data in split_model("big", 2).items():
        (bench.folder / name).write_bytes(data)
    first = bench.folder / "big-00001-of-00002.gguf"
    bench.library.take_in(ImportOrder(path=str(first)), tell=quiet, cancel=Never())
    place = next((bench.store / "shelf").iterdir())
    for path in place.iterdir():
        path.unlink()
    place.rmdir()
    located = bench.library.host_models().locate(order("big"))
    assert isinstance(located, Located), located
    assert len(list(place.iterdir())) == 2


def test_a_wrong_file_on_the_shelf_is_never_started(bench: Bench) -> None:
    take(bench, "mine", small_model())
    place = next((bench.store / "shelf").iterdir())
    (place / "mine.gguf").unlink()
    (place / "mine.gguf").write_bytes(small_model("forged"))
    located = bench.library.host_models().locate(order("mine"))
    assert isinstance(located, Located), located
    assert located.path.read_bytes() == small_model()


def test_without_hard_links_a_single_file_is_opened_as_a_blob(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    take(bench, "mine", small_model())
    located = bench.library.host_models().locate(order("mine"))
    assert isinstance(located, Located), located
    assert located.path.parent == bench.store / "blobs"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"sha256": "0" * 64}, "its sha256 is not the wanted one"),
        ({"commit": "0" * 40, "source": "hub"}, "its commit is not the wanted one"),
    ],
)
def test_another_version_is_not_served(bench: Bench, fields: dict[str, object], words: str) -> None:
    take(bench, "mine", small_model())
    answer = bench.library.host_models().locate(order("mine", **fields))
    assert isinstance(answer, Refusal)
    assert answer.code is Code.MODEL_NOT_PULLED
    assert words in answer.message


def test_equal_content_is_served_under_another_id(bench: Bench) -> None:
    take(bench, "mine", small_model())
    sha256 = next((bench.store / "blobs").iterdir()).name
    wanted = order("hf:acme/tiny:Q8_0", source="hub", sha256=sha256, commit="0" * 40)
    assert isinstance(bench.library.host_models().locate(wanted), Located)


@pytest.mark.parametrize(
    ("wanted", "step"),
    [
        (order("hf:acme/tiny:Q8_0", source="hub"), "models download hf:acme/tiny:Q8_0"),
        (order("gone"), "models import PATH --id gone"),
    ],
)
def test_what_is_not_here_is_refused_with_the_next_step(
    bench: Bench, wanted: ModelFile, step: str
) -> None:
    answer = bench.library.host_models().locate(wanted)
    assert isinstance(answer, Refusal)
    assert answer.code is Code.MODEL_NOT_PULLED
    assert f"llorch-pool {step}" in answer.message


def test_a_builtin_model_is_here_and_stays(bench: Bench) -> None:
    told = Told()
    model = bench.library.download(DownloadOrder(model="tiny-chat"), tell=told, cancel=Never())
    assert not isinstance(model, Refusal)
    assert told.last.result == model
    refusal = bench.library.delete(DeleteOrder(model="tiny-chat"), [])
    assert isinstance(refusal, Refusal)
    assert refusal.code is Code.INVALID_REQUEST
    assert not bench.store.exists()


def test_a_damaged_record_hides_one_model_and_is_told(bench: Bench) -> None:
    take(bench, "mine", small_model())
    take(bench, "other", small_model("other"))
    path = next((bench.store / "records").glob("mine-*.json"))
    path.write_bytes(b"{")
    assert [model.id for model in bench.library.models()][2:] == ["other"]
    assert "is damaged and was set aside" in bench.said[0]


def test_what_the_user_adds_to_the_catalogue_is_known_at_once(bench: Bench) -> None:
    assert "mine" not in {item.id for item in bench.library.catalog()}
    bench.layout.config.mkdir(parents=True)
    added = '[[models]]\nid = "mine"\ntrained_ctx = 64\n[models.file]\nsource = "hub"\n'
    bench.layout.user_catalog.write_text(f'{added}repo = "acme/x"\nfile = "x.gguf"\n', "utf-8")
    assert "mine" in {item.id for item in bench.library.catalog()}
    bench.layout.user_catalog.write_text("nonsense", "utf-8")
    answer = bench.library.download(DownloadOrder(model="mine"), tell=Told(), cancel=Never())
    assert isinstance(answer, Refusal)
    assert answer.code is Code.CONFIG_INVALID


def test_a_store_of_its_own_names_what_it_lacks(tmp_path: Path) -> None:
    store = Store(tmp_path / "models")
    assert store.reports() == []
    assert store.partial_files() == []
    assert store.orphans() == {}


def test_a_twin_keeps_the_content_of_a_deleted_model(bench: Bench) -> None:
    take(bench, "mine", small_model())
    take(bench, "twin", small_model())
    gone = bench.library.delete(DeleteOrder(model="mine"), [])
    assert not isinstance(gone, Refusal)
    assert gone.reasons == ["twin uses the same content"]
    assert isinstance(bench.library.host_models().locate(order("twin")), Located)


def test_a_file_that_was_cut_is_never_started(bench: Bench) -> None:
    take(bench, "mine", small_model())
    (blob,) = (bench.store / "blobs").iterdir()
    blob.chmod(0o644)
    os.truncate(blob, 100)
    answer = bench.library.host_models().locate(order("mine"))
    assert isinstance(answer, Refusal)
    assert answer.code is Code.DATA_CORRUPT
    assert "any.gguf" not in answer.message
    assert "mine.gguf has another size" in answer.message


def test_a_record_is_not_written_without_its_contents(tmp_path: Path) -> None:
    store = Store(tmp_path / "models")
    file = RecordedFile(file="gone.gguf", size_bytes=1, sha256="a" * 64)
    refusal = store.keep(ModelRecord(id="gone", source="file", files=(file,)))
    assert refusal is not None
    assert refusal.code is Code.CONFLICT
    assert store.records.all() == []


def test_of_two_imports_at_once_under_one_name_one_is_refused(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    meet, answers, keep = threading.Barrier(2), list[object](), Store.keep

    def keep_together(store: Store, *args: Any, **options: Any) -> Refusal | None:
        # Both have looked for the name before, and found it free.
        meet.wait(30)
        return keep(store, *args, **options)

    monkeypatch.setattr(Store, "keep", keep_together)

    def take_in(name: str) -> None:
        path = bench.folder / f"{name}.gguf"
        path.write_bytes(small_model(name))
        order = ImportOrder(path=str(path), id="mine", method="copy")
        answers.append(bench.open().take_in(order, tell=quiet, cancel=Never()))

    threads = [threading.Thread(target=take_in, args=(name,)) for name in ("one", "other")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (refusal,) = (answer for answer in answers if isinstance(answer, Refusal))
    assert refusal.code is Code.CONFLICT
    assert "here already with other content" in refusal.message
    (taken,) = (answer for answer in answers if isinstance(answer, list))
    (model,) = (model for model in bench.library.models() if model.source == "file")
    assert [model] == taken
    assert Path(model.files[0].path).exists()


def test_a_store_that_nobody_may_change_still_serves_a_single_file(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(bench, "mine", small_model())
    (path,) = (bench.store / "shelf").glob("mine*/*")
    path.unlink()
    for name, data in split_model("parts", 2).items():
        (bench.folder / name).write_bytes(data)
    take(bench, "parts-00001-of-00002", split_model("parts", 2)["parts-00001-of-00002.gguf"])
    for path in (bench.store / "shelf").glob("parts*/*"):
        path.unlink()

    def refuse(path: Path) -> None:
        raise OSError(errno.EROFS, "read-only", str(path))

    monkeypatch.setattr("pool_core.catalog.store.store.hold_store", refuse)
    models = bench.library.host_models()
    found = models.locate(order("mine"))
    assert isinstance(found, Located), found
    assert found.path.read_bytes() == small_model()
    refusal = models.locate(order("parts"))
    assert isinstance(refusal, Refusal)
    assert "read-only" in refusal.message
