"""The library and what lies on the host already: the hub's own cache, files of a person, links."""

import errno
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator_core.contracts.downloads import DownloadOrder
from orchestrator_core.contracts.model_info import InfoOrder, ModelInfo
from orchestrator_core.contracts.models import DeleteOrder, ImportOrder, StoredModel
from orchestrator_core.contracts.pool import ModelFile
from orchestrator_core.errors import Code, Refusal
from pool_core.catalog.located import Located
from support.fake_hub import FakeHub
from support.gguf_files import write_gguf
from support.model_store import Bench, Never, Told, quiet, small_model, split_model
from support.small_disk import small_disk

REPO = "acme/tiny-GGUF"
SMALL = small_model("Small", extra_bytes=300_000)
LARGE = small_model("Large", extra_bytes=500_000)
SMALL_NAME = "tiny-Q4_K_M.gguf"
FILES = {SMALL_NAME: SMALL, "tiny-Q8_0.gguf": LARGE}
SMALL_ID = f"hf:{REPO}:Q4_K_M"
SNAPSHOT = "import sys, huggingface_hub as h; h.snapshot_download(sys.argv[1])"
NO_NETWORK = {"HF_HUB_OFFLINE": "1"}


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as hub:
        yield hub


@pytest.fixture
def bench(tmp_path: Path, hub: FakeHub) -> Bench:
    """A host whose cache the hub's own client has filled."""
    hub.add(REPO, FILES)
    bench = Bench(tmp_path, hub)
    quieted = {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    env = {**bench.env, **quieted, "PATH": os.defpath, "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SNAPSHOT, REPO],
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    hub.forget_requests()
    return bench


def download(bench: Bench, model: str, told: Told, **fields: object) -> StoredModel | Refusal:
    order = DownloadOrder.model_validate({"model": model, **fields})
    return bench.library.download(order, tell=told, cancel=Never())


def imported(bench: Bench, path: Path, **fields: object) -> StoredModel:
    answer = take_in(bench, path, **fields)
    assert isinstance(answer, list), answer
    (model,) = answer
    return model


def take_in(bench: Bench, path: Path, **fields: object) -> list[StoredModel] | Refusal:
    order = ImportOrder.model_validate({"path": str(path), **fields})
    return bench.library.take_in(order, tell=quiet, cancel=Never())


def stored(bench: Bench) -> list[str]:
    return [model.id for model in bench.library.models() if model.source != "builtin"]


def cached_blob(bench: Bench) -> Path:
    return next(bench.cache.rglob(SMALL_NAME)).resolve()


def test_what_the_hubs_client_has_cached_is_linked_and_not_fetched(
    bench: Bench, hub: FakeHub
) -> None:
    told = Told()
    answer = download(bench, SMALL_ID, told)
    assert isinstance(answer, StoredModel), answer
    assert hub.sent_bytes(SMALL_NAME) == 0
    assert Path(answer.files[0].path).samefile(cached_blob(bench))
    assert answer.shared_bytes == answer.size_bytes == len(SMALL)
    assert "found in the Hugging Face cache" in told.notes
    gone = bench.library.delete(DeleteOrder(model=SMALL_ID), [])
    assert not isinstance(gone, Refusal)
    assert (gone.freed_bytes, gone.kept_bytes) == (0, len(SMALL))
    assert cached_blob(bench).read_bytes() == SMALL


def test_a_damaged_file_of_the_cache_is_told_and_not_used(bench: Bench, hub: FakeHub) -> None:
    blob = cached_blob(bench)
    blob.chmod(0o644)
    blob.write_bytes(b"X" + SMALL[1:])
    told = Told()
    answer = download(bench, SMALL_ID, told)
    assert isinstance(answer, StoredModel), answer
    assert any("is damaged" in note for note in told.notes)
    assert hub.sent_bytes(SMALL_NAME) == len(SMALL)
    assert Path(answer.files[0].path).read_bytes() == SMALL


def test_on_another_file_system_the_cache_is_copied(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def elsewhere(self: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), str(self), None, str(target))

    monkeypatch.setattr(Path, "hardlink_to", elsewhere)
    answer = download(bench, SMALL_ID, Told())
    assert isinstance(answer, StoredModel), answer
    assert not Path(answer.files[0].path).samefile(cached_blob(bench))
    assert answer.shared_bytes == 0


def test_without_a_network_the_cache_answers(bench: Bench, hub: FakeHub) -> None:
    bench.env.update(NO_NETWORK)
    alone = bench.open()
    info = alone.info(InfoOrder(model=f"hf:{REPO}"), [])
    assert isinstance(info, ModelInfo), info
    assert (info.id, info.is_here, info.blocks) == (SMALL_ID, False, 2)
    answer = alone.download(DownloadOrder(model=f"hf:{REPO}"), tell=Told(), cancel=Never())
    assert isinstance(answer, StoredModel), answer
    assert answer.id == SMALL_ID
    missing = alone.download(DownloadOrder(model="hf:acme/other"), tell=Told(), cancel=Never())
    assert isinstance(missing, Refusal)
    assert hub.requests == []


def test_the_whole_cache_is_taken_in_at_once(bench: Bench, hub: FakeHub) -> None:
    order = ImportOrder(hub_cache=True)
    taken = bench.library.take_in(order, tell=quiet, cancel=Never())
    assert isinstance(taken, list), taken
    assert [model.id for model in taken] == [SMALL_ID, f"hf:{REPO}:Q8_0"]
    assert {model.source for model in taken} == {"hub"}
    again = bench.library.take_in(order, tell=quiet, cancel=Never())
    assert again == taken
    assert hub.requests == []


def test_the_hf_program_can_be_asked_instead(bench: Bench, hub: FakeHub) -> None:
    bench.env["PATH"] = str(Path(sys.executable).parent)
    bench.env["HF_HOME"] = str(bench.folder / "empty")
    bench.env["HF_HUB_DISABLE_XET"] = "1"
    bench.library = bench.open()
    hub.faults.wrong_bytes(times=1)
    answer = download(bench, SMALL_ID, Told(), via="hf")
    assert isinstance(answer, Refusal)
    assert answer.code is Code.DATA_CORRUPT
    answer = download(bench, SMALL_ID, Told(), via="hf")
    assert isinstance(answer, StoredModel), answer
    assert Path(answer.files[0].path).read_bytes() == SMALL
    assert [path for path in (bench.store / "partial").iterdir() if path.suffix == ".hf"] == []


@pytest.fixture
def alone(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_an_import_names_the_model_after_its_file(alone: Bench) -> None:
    path = write_gguf(alone.folder / "My Model.Q8_0.gguf")
    model = imported(alone, path)
    assert (model.id, model.source) == ("my-model.q8_0", "file")
    assert Path(model.files[0].path).read_bytes() == path.read_bytes()
    order = ModelFile(model_id=model.id, source="file", file=path.name)
    located = alone.library.host_models().locate(order)
    assert isinstance(located, Located), located
    (used,) = (it.used_at for it in alone.library.models() if it.id == model.id)
    assert used == alone.clock.spelled()


def test_importing_the_same_again_changes_nothing(alone: Bench) -> None:
    path = write_gguf(alone.folder / "mine.gguf")
    first = imported(alone, path)
    assert imported(alone, path) == first
    assert path.exists()


def test_another_content_under_a_taken_id_is_refused(alone: Bench) -> None:
    imported(alone, write_gguf(alone.folder / "mine.gguf"))
    other = write_gguf(alone.folder / "other.gguf", values={"general.name": "Made By A Tesu"})
    answer = take_in(alone, other, id="mine")
    assert isinstance(answer, Refusal)
    assert answer.code is Code.CONFLICT
    assert len(list((alone.store / "blobs").iterdir())) == 1


def test_a_file_of_another_size_is_refused_before_it_is_read(alone: Bench) -> None:
    imported(alone, write_gguf(alone.folder / "mine.gguf"))
    other = alone.folder / "other.gguf"
    other.write_bytes(small_model(extra_bytes=100_000))

    def read(what: str, done_bytes: int, total_bytes: int) -> None:
        raise AssertionError(f"{done_bytes} of {total_bytes} bytes of {what} were read")

    order = ImportOrder(path=str(other), id="mine")
    answer = alone.library.take_in(order, tell=read, cancel=Never())
    assert isinstance(answer, Refusal)
    assert answer.code is Code.CONFLICT


@pytest.mark.parametrize("method", ["auto", "hardlink", "copy"])
def test_a_person_chooses_how_a_file_comes_in(alone: Bench, method: str) -> None:
    path = write_gguf(alone.folder / "mine.gguf")
    model = imported(alone, path, method=method)
    is_same = Path(model.files[0].path).samefile(path)
    assert is_same is (model.shared_bytes > 0)
    if method != "auto":
        assert is_same is (method == "hardlink")
    assert path.stat().st_mode & 0o200


def test_an_import_by_copy_needs_room(alone: Bench) -> None:
    alone.disk.bytes_free = 100
    answer = take_in(alone, write_gguf(alone.folder / "mine.gguf"), method="copy")
    assert isinstance(answer, Refusal)
    assert answer.code is Code.DISK_LOW


def test_all_parts_of_a_split_model_are_taken_in(alone: Bench) -> None:
    for name, data in split_model("big", 2).items():
        (alone.folder / name).write_bytes(data)
    model = imported(alone, alone.folder / "big-00001-of-00002.gguf")
    assert model.id == "big"
    assert [file.file for file in model.files] == [
        "big-00001-of-00002.gguf",
        "big-00002-of-00002.gguf",
    ]


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("web.gguf", b"<!doctype html>", Code.MODEL_INCOMPATIBLE),
        ("---.gguf", None, Code.INVALID_REQUEST),
        ("tiny-chat.gguf", None, Code.CONFLICT),
    ],
)
def test_what_cannot_be_a_model_is_not_taken_in(
    alone: Bench, name: str, content: bytes | None, code: Code
) -> None:
    path = alone.folder / name
    path.write_bytes(small_model() if content is None else content)
    answer = take_in(alone, path)
    assert isinstance(answer, Refusal)
    assert answer.code is code
    assert stored(alone) == []


def test_a_file_that_the_catalogue_knows_becomes_that_model(tmp_path: Path) -> None:
    sha256 = hashlib.sha256(SMALL).hexdigest()
    catalog = f"""
    [[models]]
    id = "mine"
    trained_ctx = 2048
    file = {{source = "hub", repo = "{REPO}", file = "{SMALL_NAME}", sha256 = "{sha256}"}}
    """
    bench = Bench(tmp_path, catalog=catalog)
    path = bench.folder / "copied-by-hand.gguf"
    path.write_bytes(SMALL)
    model = imported(bench, path)
    assert (model.id, model.source, model.repo) == ("mine", "hub", REPO)
    assert model.files[0].file == SMALL_NAME
    entry = next(item for item in bench.library.catalog() if item.id == "mine")
    assert entry.is_here


def test_a_link_in_the_place_of_a_blob_is_never_followed(alone: Bench) -> None:
    model = imported(alone, write_gguf(alone.folder / "mine.gguf"), method="copy")
    blob = alone.blob(model.files[0].sha256)
    secret = write_gguf(alone.folder / "secret.gguf")
    blob.unlink()
    blob.symlink_to(secret)
    order = ModelFile(model_id=model.id, source="file", file="mine.gguf")
    answer = alone.library.host_models().locate(order)
    assert isinstance(answer, Refusal)
    assert "it is a link or something else than a file" in answer.message
    gone = alone.library.delete(DeleteOrder(model=model.id), [])
    assert not isinstance(gone, Refusal)
    assert secret.exists()
    assert not blob.is_symlink()


def test_a_link_in_the_place_of_a_shelf_leads_to_no_deletion(alone: Bench) -> None:
    model = imported(alone, write_gguf(alone.folder / "mine.gguf"))
    place = Path(model.files[0].path).parent
    others = alone.folder / "others"
    others.mkdir()
    (others / "precious").write_text("mine", "utf-8")
    Path(model.files[0].path).unlink()
    place.rmdir()
    place.symlink_to(others)
    gone = alone.library.delete(DeleteOrder(model=model.id), [])
    assert not isinstance(gone, Refusal)
    assert (others / "precious").exists()


def test_a_store_whose_folder_is_a_link_is_refused(alone: Bench) -> None:
    alone.store.mkdir(parents=True)
    (alone.folder / "elsewhere").mkdir()
    (alone.store / "blobs").symlink_to(alone.folder / "elsewhere")
    answer = take_in(alone, write_gguf(alone.folder / "mine.gguf"))
    assert isinstance(answer, Refusal)
    assert answer.code is Code.CONFIG_INVALID
    assert list((alone.folder / "elsewhere").iterdir()) == []


def test_info_of_a_builtin_model_reads_its_own_header(alone: Bench) -> None:
    info = alone.library.info(InfoOrder(model="tiny-chat"), [])
    assert isinstance(info, ModelInfo), info
    assert (info.is_here, info.blocks, info.trained_ctx) == (True, 4, 1024)


def test_a_cache_on_another_file_system_is_copied(bench: Bench, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 16 << 20) as disk:
        cache = disk.folder / "hub"
        shutil.copytree(bench.cache, cache, symlinks=True)
        away = Bench(tmp_path / "away", env={**NO_NETWORK, "HF_HUB_CACHE": str(cache)})
        model = download(away, SMALL_ID, Told())
        assert isinstance(model, StoredModel), model
        everything = ImportOrder(hub_cache=True)
        assert isinstance(away.library.take_in(everything, tell=quiet, cancel=Never()), list)
    assert Path(model.files[0].path).read_bytes() == SMALL
    assert model.shared_bytes == 0
    assert away.library.usage([]).shared_bytes == 0
    assert away.library.usage([]).model_bytes == len(SMALL) + len(LARGE)


def test_a_store_on_a_full_file_system_keeps_what_it_has_and_says_so(
    bench: Bench, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", 1 << 20) as disk:
        home = {"LLORCH_HOME": str(disk.folder), "HF_HOME": str(tmp_path / "hf")}
        small = Bench(tmp_path / "small", env={**NO_NETWORK, **home})
        assert isinstance(download(small, SMALL_ID, Told()), StoredModel)
        disk.grow_another_file(leaving_bytes=100_000)
        order = ImportOrder(path=str(bench.folder / "large.gguf"))
        (bench.folder / "large.gguf").write_bytes(LARGE)
        refusal = small.library.take_in(order, tell=quiet, cancel=Never())
        assert isinstance(refusal, Refusal), refusal
        assert refusal.code is Code.DISK_LOW
        assert small.library.usage([]).partial_bytes == 0
        disk.grow_another_file(leaving_bytes=0)
        deleted = small.library.delete(DeleteOrder(model=SMALL_ID), [])
        assert not isinstance(deleted, Refusal), deleted
        assert deleted.freed_bytes == len(SMALL)


def test_an_import_repairs_a_content_that_has_rotted_unseen(bench: Bench) -> None:
    path = bench.folder / "mine.gguf"
    path.write_bytes(SMALL)
    model = imported(bench, path, method="copy")
    blob = bench.blob(model.files[0].sha256)
    blob.chmod(0o600)
    blob.write_bytes(SMALL[:-1] + b"?")
    again = imported(bench, path, method="copy")
    assert blob.read_bytes() == SMALL
    assert Path(again.files[0].path).read_bytes() == SMALL
    assert imported(bench, path, method="copy").files == again.files
