import errno
import os
import threading
from pathlib import Path

import pytest

from orchestrator_core.contracts.models import (
    FileState,
    ImportOrder,
    StoredModel,
    VerifyOrder,
    VerifyReport,
)
from orchestrator_core.errors import Code, Refusal
from pool_core.catalog.store.blobs import Blobs
from pool_core.catalog.store.records import Records
from support.model_store import Bench, Never, quiet, small_model, split_model

DATA = small_model("mine")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path)
    (bench.folder / "mine.gguf").write_bytes(DATA)
    take(bench, "mine.gguf")
    return bench


def take(bench: Bench, name: str, **fields: object) -> StoredModel:
    tree = {"path": str(bench.folder / name), "method": "copy", **fields}
    taken = bench.library.take_in(ImportOrder.model_validate(tree), tell=quiet, cancel=Never())
    assert isinstance(taken, list), taken
    return taken[0]


def verify(bench: Bench, model: str | None = None) -> list[VerifyReport]:
    reports = bench.library.verify(VerifyOrder(model=model), tell=quiet, cancel=Never())
    assert isinstance(reports, list), reports
    return reports


def mine(bench: Bench) -> StoredModel:
    return next(model for model in bench.library.models() if model.id == "mine")


def blob_of(bench: Bench) -> Path:
    return bench.blob(mine(bench).files[0].sha256)


def test_all_models_are_verified_the_builtin_ones_too(bench: Bench) -> None:
    reports = verify(bench)
    assert [report.id for report in reports] == ["tiny-chat", "tiny-story", "mine"]
    assert all(report.ok for report in reports)


def test_a_sound_model_notes_when_that_was(bench: Bench) -> None:
    bench.clock.pass_s(60)
    assert verify(bench, "mine")[0].ok
    assert mine(bench).verified_at == bench.clock.spelled()


def test_a_flipped_byte_is_found_and_the_file_is_kept(bench: Bench) -> None:
    blob = blob_of(bench)
    blob.chmod(0o644)
    blob.write_bytes(DATA[:-1] + b"!")
    (report,) = verify(bench, "mine")
    (check,) = report.files
    assert (report.ok, check.state) == (False, FileState.DAMAGED)
    assert check.actual_sha256 not in (None, check.expected_sha256)
    assert blob.exists()
    assert mine(bench).verified_at is None
    assert {it.id for it in bench.library.host_models().reports()} == {"tiny-chat", "tiny-story"}


def test_a_file_that_was_mended_by_hand_counts_again(bench: Bench) -> None:
    blob = blob_of(bench)
    blob.chmod(0o644)
    blob.write_bytes(DATA[:-1] + b"!")
    verify(bench, "mine")
    blob.write_bytes(DATA)
    assert verify(bench, "mine")[0].ok
    assert "mine" in {it.id for it in bench.library.host_models().reports()}


def test_a_file_that_is_replaced_while_it_is_read_is_read_again(bench: Bench) -> None:
    blob = blob_of(bench)
    blob.chmod(0o644)
    blob.write_bytes(DATA[:-1] + b"!")

    def replace(what: str, done_bytes: int, total_bytes: int) -> None:
        quiet(what, done_bytes, total_bytes)
        fresh = bench.folder / "fresh"
        fresh.write_bytes(DATA)
        fresh.replace(blob)

    reports = bench.library.verify(VerifyOrder(model="mine"), tell=replace, cancel=Never())
    assert isinstance(reports, list)
    assert reports[0].ok


def test_a_damaged_import_is_mended_by_importing_again(bench: Bench) -> None:
    blob = blob_of(bench)
    blob.chmod(0o644)
    blob.write_bytes(DATA[:-1] + b"!")
    verify(bench, "mine")
    take(bench, "mine.gguf")
    assert verify(bench, "mine")[0].ok
    assert Path(mine(bench).files[0].path).read_bytes() == DATA


def test_a_model_that_no_worker_can_use_says_so_where_models_are_listed(bench: Bench) -> None:
    assert mine(bench).fault is None
    blob = blob_of(bench)
    blob.chmod(0o644)
    blob.write_bytes(DATA[:-1] + b"!")
    verify(bench, "mine")
    fault = mine(bench).fault
    assert fault is not None
    assert "is damaged: llorch-pool models import PATH --id mine" in fault


def test_a_missing_file_is_said(bench: Bench) -> None:
    blob_of(bench).unlink()
    (report,) = verify(bench, "mine")
    assert [check.state for check in report.files] == [FileState.MISSING]


def test_a_link_instead_of_a_file_is_not_read(bench: Bench) -> None:
    blob = blob_of(bench)
    blob.unlink()
    blob.symlink_to(bench.folder / "mine.gguf")
    (report,) = verify(bench, "mine")
    assert [check.state for check in report.files] == [FileState.UNREADABLE]


def test_a_disk_that_cannot_read_a_file_is_said(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "readv", broken)
    (report,) = verify(bench, "mine")
    (check,) = report.files
    assert (check.state, check.reason) == (FileState.UNREADABLE, "Input/output error")


def test_progress_counts_every_byte_of_every_part(bench: Bench) -> None:
    parts = split_model("big", 2)
    for name, data in parts.items():
        (bench.folder / name).write_bytes(data)
    take(bench, "big-00001-of-00002.gguf")
    told: dict[str, tuple[int, int]] = {}

    def tell(what: str, done_bytes: int, total_bytes: int) -> None:
        told[what] = (done_bytes, total_bytes)

    bench.library.verify(VerifyOrder(model="big"), tell=tell, cancel=Never())
    assert told == {name: (len(data), len(data)) for name, data in parts.items()}


def test_a_cancelled_act_says_so(bench: Bench) -> None:
    cancel = threading.Event()
    cancel.set()
    answer = bench.library.verify(VerifyOrder(), tell=quiet, cancel=cancel)
    assert isinstance(answer, Refusal)
    assert answer.code is Code.CANCELLED


def test_a_model_that_is_not_here_is_refused(bench: Bench) -> None:
    answer = bench.library.verify(VerifyOrder(model="other"), tell=quiet, cancel=Never())
    assert isinstance(answer, Refusal)
    assert answer.code is Code.MODEL_NOT_FOUND


def test_what_is_damaged_is_told_also_where_nobody_may_write(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob = blob_of(bench)
    blob.chmod(0o600)
    blob.write_bytes(DATA[:-1] + b"?")

    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, "read-only")

    monkeypatch.setattr(Blobs, "mark_damaged", refuse)
    monkeypatch.setattr(Records, "write", refuse)
    (report,) = verify(bench, "mine")
    assert [check.state for check in report.files] == [FileState.DAMAGED]
    assert "what became of mine.gguf could not be noted: read-only" in bench.said
