"""Where workers are, and which models only engines of somebody else have."""

from pydantic import SecretStr

from orchestrator_core.contracts.pool import ModelFile, WorkerReport, WorkerSpec
from orchestrator_core.ids import PoolId, WorkerId
from orchestrator_core.testing.reports import worker_report
from orchestratord.runtime.workerbook import External, WorkerBook

HOME, ATTIC = PoolId("home"), PoolId("attic")


def external(
    name: str, model: str = "m", *, parallel: int = 4, url: str = "http://gpu:8000/x/v1"
) -> WorkerReport:
    spec = WorkerSpec(
        model=ModelFile(model_id=model, source="external", file="org/m"),
        engine="openai",
        parallel=parallel,
    )
    return worker_report(name, spec=spec).model_copy(update={"url": url})


def test_a_worker_of_a_pool_is_no_external_engine() -> None:
    book = WorkerBook()
    book.replace(HOME, [worker_report("wrk_1", port=8123)])
    found = book.find(HOME, WorkerId("wrk_1"))
    assert found is not None
    assert (found.host, found.port, found.external) == ("127.0.0.1", 8123, None)
    assert book.external_models == {}


def test_an_external_engine_is_found_with_its_paths_and_its_own_name() -> None:
    book = WorkerBook()
    key = SecretStr("hush")
    book.replace(HOME, [external("wrk_1").model_copy(update={"key": key})])
    found = book.find(HOME, WorkerId("wrk_1"))
    assert found is not None
    assert (found.host, found.port, found.model, found.key) == ("gpu", 8000, "m", "hush")
    assert found.external == External(base_path="/x/v1", model="org/m", cold_s=600)
    assert "hush" not in repr(found)
    assert list(book.external_models) == ["m"]


def test_an_address_that_cannot_be_is_nowhere_to_go() -> None:
    book = WorkerBook()
    book.replace(HOME, [external("wrk_1", url="http://169.254.169.254/v1")])
    assert book.find(HOME, WorkerId("wrk_1")) is None


def test_the_widest_of_several_engines_stands_for_a_model() -> None:
    book = WorkerBook()
    book.replace(HOME, [external("wrk_1"), external("wrk_2", parallel=9)])
    book.replace(ATTIC, [external("wrk_3", parallel=7), external("wrk_4", "n")])
    assert {name: spec.parallel for name, spec in book.external_models.items()} == {"m": 9, "n": 4}
    book.replace(HOME, [])
    assert {name: spec.parallel for name, spec in book.external_models.items()} == {"m": 7, "n": 4}
    book.replace(ATTIC, [])
    assert book.external_models == {}


def test_a_beat_that_says_the_same_again_changes_nothing() -> None:
    book = WorkerBook()
    book.replace(HOME, [external("wrk_1")])
    before = book.external_models["m"]
    book.replace(HOME, [external("wrk_1")])
    assert book.external_models["m"] is before
