import hashlib
import os
from pathlib import Path

import pytest

from orchestrator_core.contracts.models import (
    CleanUpOrder,
    CleanUpReport,
    DeleteOrder,
    ImportOrder,
    VerifyOrder,
)
from orchestrator_core.contracts.pool import ModelFile
from orchestrator_core.errors import Refusal
from orchestrator_core.platforms.files import FileLock
from pool_core.catalog.store.claims import Claims
from support.model_store import Bench, Never, quiet, small_model, worker_on

DAY_S = 86_400


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def take(bench: Bench, model_id: str, data: bytes) -> None:
    path = bench.folder / f"{model_id}.gguf"
    path.write_bytes(data)
    order = ImportOrder(path=str(path), id=model_id, method="copy")
    assert isinstance(bench.library.take_in(order, tell=quiet, cancel=Never()), list)


def clean(bench: Bench, *workers: ModelFile, **fields: object) -> CleanUpReport:
    held = [worker_on(model, f"cpu-{number}") for number, model in enumerate(workers, 1)]
    answer = bench.library.clean_up(CleanUpOrder.model_validate(fields), held)
    assert not isinstance(answer, Refusal), answer
    return answer


def here(bench: Bench) -> set[str]:
    return {model.id for model in bench.library.models() if model.source != "builtin"}


def test_the_use_by_a_worker_counts_and_not_the_arrival(bench: Bench) -> None:
    take(bench, "first", small_model("first"))
    bench.clock.pass_s(DAY_S)
    take(bench, "second", small_model("second"))
    bench.clock.pass_s(DAY_S)
    bench.library.host_models().locate(ModelFile(model_id="first", source="file", file="first"))
    bench.clock.pass_s(DAY_S)
    report = clean(bench, free_bytes=1)
    assert [it.id for it in report.deleted] == ["second"]
    assert here(bench) == {"first"}


def test_a_dry_run_deletes_nothing(bench: Bench) -> None:
    take(bench, "first", small_model("first"))
    bench.clock.pass_s(DAY_S)
    report = clean(bench, unused_s=0, dry_run=True)
    assert [it.id for it in report.deleted] == ["first"]
    assert report.freed_bytes == len(small_model("first"))
    assert here(bench) == {"first"}


def test_what_a_worker_holds_or_is_on_its_way_stays(bench: Bench) -> None:
    take(bench, "first", small_model("first"))
    take(bench, "second", small_model("second"))
    bench.clock.pass_s(DAY_S)
    with Claims(bench.store / "claims").hold("second"):
        used = ModelFile(model_id="first", source="file", file="first")
        report = clean(bench, used, unused_s=0)
    assert report.deleted == []
    assert report.kept["first"] == "worker cpu-1 uses it"
    assert report.kept["second"] == "it is being downloaded or imported"


def test_twins_free_their_content_once_both_are_gone(bench: Bench) -> None:
    data = small_model("twin")
    take(bench, "first", data)
    take(bench, "second", data)
    bench.clock.pass_s(DAY_S)
    report = clean(bench, unused_s=0)
    assert [(it.freed_bytes, it.kept_bytes) for it in report.deleted] == [
        (0, len(data)),
        (len(data), 0),
    ]
    assert report.freed_bytes == len(data)
    assert list((bench.store / "blobs").iterdir()) == []


def left_behind(bench: Bench, name: str, *, days: float) -> Path:
    path = bench.store / "partial" / name
    path.write_bytes(b"unfinished")
    moment_s = bench.clock.unix_ms() / 1000 - days * DAY_S
    os.utime(path, (moment_s, moment_s))
    return path


SHA = hashlib.sha256(b"x").hexdigest()


def test_unfinished_files_go_after_a_week(bench: Bench) -> None:
    take(bench, "first", small_model("first"))
    old = left_behind(bench, f"{SHA}.part", days=8)
    fresh = left_behind(bench, f"{'b' * 64}.part", days=6)
    report = clean(bench, unused_s=30 * DAY_S)
    assert report.freed_bytes == len(b"unfinished")
    assert not old.exists()
    assert fresh.exists()


def test_an_unfinished_file_that_somebody_fills_stays(bench: Bench) -> None:
    take(bench, "first", small_model("first"))
    old = left_behind(bench, f"{SHA}.part", days=8)
    lock = FileLock(old.with_suffix(".lock"))
    assert lock.try_acquire()
    clean(bench, unused_s=0)
    assert old.exists()
    lock.release()
    clean(bench, unused_s=0)
    assert not old.exists()
    assert old.with_suffix(".lock").exists()


def test_what_hf_has_left_goes_with_its_folder(bench: Bench) -> None:
    take(bench, "first", small_model("first"))
    folder = bench.store / "partial" / f"{SHA}.hf"
    (folder / "files").mkdir(parents=True)
    (folder / "files" / "half").write_bytes(b"half")
    moment_s = bench.clock.unix_ms() / 1000 - 8 * DAY_S
    os.utime(folder, (moment_s, moment_s))
    clean(bench, unused_s=0)
    assert not folder.exists()


def test_contents_without_a_model_go_after_a_week(bench: Bench) -> None:
    take(bench, "first", small_model("first"))
    orphan = bench.blob(SHA)
    orphan.write_bytes(b"x")
    arrived_ms = orphan.stat().st_ctime_ns // 1_000_000
    bench.clock.now_ms = arrived_ms + 6 * DAY_S * 1000
    assert bench.library.usage([]).orphan_bytes == 1
    clean(bench, unused_s=365 * DAY_S)
    assert orphan.exists()
    bench.clock.pass_s(2 * DAY_S)
    with Claims(bench.store / "claims").hold("other"):
        clean(bench, unused_s=365 * DAY_S)
    assert orphan.exists()
    clean(bench, unused_s=365 * DAY_S)
    assert not orphan.exists()


def test_nothing_is_collected_while_a_record_cannot_be_read(bench: Bench) -> None:
    take(bench, "first", small_model("first"))
    path = next((bench.store / "records").glob("*.json"))
    path.write_text(path.read_text().replace('"schema_version": 1', '"schema_version": 2'))
    bench.clock.pass_s(3650 * DAY_S)
    clean(bench, unused_s=0)
    path.write_text(path.read_text().replace('"schema_version": 2', '"schema_version": 1'))
    reports = bench.library.verify(VerifyOrder(model="first"), tell=quiet, cancel=Never())
    assert isinstance(reports, list)
    assert reports[0].ok


def test_a_model_whose_record_was_lost_is_kept_for_another_week(bench: Bench) -> None:
    take(bench, "first", small_model("first"))
    next((bench.store / "records").glob("*.json")).write_bytes(b"{")
    (blob,) = (bench.store / "blobs").iterdir()
    bench.clock.now_ms = blob.stat().st_ctime_ns // 1_000_000 + 8 * DAY_S * 1000
    clean(bench, unused_s=0)
    assert blob.stat().st_nlink == 1
    bench.clock.pass_s(8 * DAY_S)
    clean(bench, unused_s=0)
    assert not blob.exists()


def test_what_a_killed_writer_of_records_left_is_collected(bench: Bench) -> None:
    take(bench, "first", small_model("first"))
    draft = bench.store / "records" / ".first.json.4711.ab.new"
    draft.write_bytes(b"{")
    bench.clock.now_ms = round(draft.stat().st_mtime * 1000)
    clean(bench)
    assert draft.exists()
    bench.clock.pass_s(8 * DAY_S)
    assert clean(bench).freed_bytes == 1
    assert not draft.exists()
    assert here(bench) == {"first"}


def test_a_clock_that_was_ahead_for_years_protects_no_model(bench: Bench) -> None:
    take(bench, "second", small_model("second"))
    bench.clock.pass_s(3650 * DAY_S)
    take(bench, "first", small_model("first"))
    bench.clock.pass_s(-3600 * DAY_S)
    report = clean(bench, unused_s=DAY_S)
    assert [it.id for it in report.deleted] == ["first", "second"]


def test_a_record_of_a_newer_version_keeps_every_content_and_that_is_said(bench: Bench) -> None:
    take(bench, "first", small_model("first"))
    take(bench, "second", small_model("second"))
    record = next((bench.store / "records").glob("second*.json"))
    record.write_text(record.read_text().replace('"schema_version": 1', '"schema_version": 2'))
    report = bench.library.delete(DeleteOrder(model="first"), [])
    assert not isinstance(report, Refusal), report
    assert (report.freed_bytes, report.kept_bytes) == (0, len(small_model("first")))
    assert report.reasons == ["a record that cannot be read may name the same content"]
    assert bench.blob(hashlib.sha256(small_model("first")).hexdigest()).exists()
