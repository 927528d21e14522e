from pathlib import Path

import pytest

from orchestrator_core.contracts.pool import ModelFile, WorkerStatus
from orchestrator_core.errors import Code
from pool_core.catalog.store.accounts import Accounts, Holding
from pool_core.catalog.store.records import ModelRecord, RecordedFile
from pool_core.catalog.upkeep.deletion import deletion_report, holders, refuse_deletion
from support.model_store import worker_on

SHA = "a" * 64
RECORD = ModelRecord(
    id="hf:acme/tiny:Q8_0",
    source="hub",
    files=(RecordedFile(file="tiny.gguf", size_bytes=100, sha256=SHA),),
)
SHELVED = Path("/models/shelf/tiny/tiny.gguf")


def model(model_id: str = RECORD.id, **fields: object) -> ModelFile:
    known: dict[str, object] = {"model_id": model_id, "source": "hub", "file": "tiny.gguf"}
    return ModelFile.model_validate(known | fields)


@pytest.mark.parametrize(
    "used",
    [
        model(),
        model("hf:acme/tiny", sha256=SHA),
        model("mine", source="file", file=str(SHELVED)),
        model(RECORD.id, source="file", file="tiny.gguf"),
    ],
)
def test_a_worker_holds_a_model_by_id_content_or_path(used: ModelFile) -> None:
    assert holders(RECORD, [worker_on(used)], {SHELVED}, {RECORD.id}) == ["cpu-1"]


@pytest.mark.parametrize(
    "used",
    [
        model("hf:acme/other", sha256="b" * 64),
        model("hf:acme/twin", sha256=SHA),
        model("tiny-chat", source="builtin", sha256=SHA),
        model("mine", source="file", file="/elsewhere/tiny.gguf", sha256=SHA),
    ],
)
def test_a_worker_of_another_model_holds_it_not(used: ModelFile) -> None:
    ids = {RECORD.id, "hf:acme/twin"}
    assert holders(RECORD, [worker_on(used)], {SHELVED}, ids) == []


@pytest.mark.parametrize("status", [WorkerStatus.STOPPED, WorkerStatus.FAILED, WorkerStatus.PARKED])
def test_a_worker_that_has_ended_holds_nothing(status: WorkerStatus) -> None:
    ended = worker_on(model(), status=status, pid=None)
    assert holders(RECORD, [ended]) == []
    assert holders(RECORD, [worker_on(model(), status=status)]) == ["cpu-1"]


def test_a_refusal_names_the_workers_and_the_next_step() -> None:
    refusal = refuse_deletion(RECORD, ["cpu-1", "cpu-2"], is_arriving=False)
    assert refusal is not None
    assert refusal.code is Code.CONFLICT
    assert "workers cpu-1, cpu-2: llorch-pool worker stop cpu-1" in refusal.message


def test_a_model_on_its_way_is_not_deleted() -> None:
    refusal = refuse_deletion(RECORD, [], is_arriving=True)
    assert refusal is not None
    assert refusal.code is Code.CONFLICT
    assert refuse_deletion(RECORD, [], is_arriving=False) is None


def test_a_report_says_what_stays_and_why() -> None:
    accounts = Accounts([Holding(RECORD.id, {SHA: 100}), Holding("twin", {SHA: 100})])
    report = deletion_report(RECORD, accounts, dry_run=True)
    assert (report.freed_bytes, report.kept_bytes) == (0, 100)
    assert report.reasons == ["twin uses the same content"]
    assert report.dry_run
