"""Where workers are, and which models only engines of somebody else have."""

import asyncio
from collections.abc import Callable

import pytest
from pydantic import SecretStr

from orchestrator_core.contracts.pool import ModelFile, WorkerReport, WorkerSpec
from orchestrator_core.ids import PoolId, WorkerId
from orchestrator_core.testing.reports import worker_report
from orchestratord.runtime.workerbook import External, WorkerBook
from orchestratord.upstream.request import Address
from orchestratord.upstream.road import DIRECT, Road

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


class Elsewhere:
    """A road that only has to be told from others."""

    def __init__(self, name: str = "elsewhere") -> None:
        self.name = name

    async def connect(self, make: Callable[[], asyncio.Protocol], address: Address) -> None:
        raise AssertionError("nobody goes there")


def test_the_road_of_its_pool_leads_to_a_worker() -> None:
    far = Elsewhere()
    asked: list[tuple[str, str]] = []

    def road_to(pool_id: PoolId, worker_id: WorkerId) -> Road:
        asked.append((pool_id, worker_id))
        return far if pool_id == ATTIC else DIRECT

    book = WorkerBook(road_to)
    for pool_id in (HOME, ATTIC):
        book.replace(pool_id, [worker_report("wrk_1", port=8123)])
    near, there = book.find(HOME, WorkerId("wrk_1")), book.find(ATTIC, WorkerId("wrk_1"))
    assert near is not None
    assert there is not None
    assert (near.road, there.road) == (DIRECT, far)
    assert asked == [(HOME, "wrk_1"), (ATTIC, "wrk_1")]
    assert "Elsewhere" not in repr(there)


@pytest.mark.parametrize(
    ("url", "is_of_the_host"),
    [
        ("http://127.0.0.1:8000/v1", True),
        ("http://localhost:8000/v1", True),
        ("http://[::1]:8000/v1", True),
        ("http://gpu:8000/v1", False),
        ("http://192.168.1.7:8000/v1", False),
    ],
)
def test_an_engine_on_the_loopback_of_a_host_is_reached_there(
    url: str, is_of_the_host: bool
) -> None:
    far = Elsewhere()
    book = WorkerBook(lambda _, __: far)
    book.replace(ATTIC, [external("wrk_1", url=url)])
    found = book.find(ATTIC, WorkerId("wrk_1"))
    assert found is not None
    assert found.road is (far if is_of_the_host else DIRECT)


@pytest.mark.parametrize(
    ("url", "is_relayed"),
    [
        ("http://169.254.169.253.example:80/v1", True),
        ("http://192.168.1.7:8000/v1", True),
        ("http://127.0.0.1:8000/v1", True),
        ("https://gpu.example:8000/v1", False),
    ],
)
def test_a_pool_that_joined_by_itself_has_us_dial_nothing_in_plain_text(
    url: str, is_relayed: bool
) -> None:
    relay = Elsewhere("relay")
    book = WorkerBook(lambda _, __: relay)
    book.replace(ATTIC, [external("wrk_1", url=url)])
    found = book.find(ATTIC, WorkerId("wrk_1"))
    assert found is not None
    assert found.road is (relay if is_relayed else DIRECT)


def test_another_road_is_no_other_process() -> None:
    book, later = WorkerBook(), WorkerBook(lambda _, __: Elsewhere())
    for it in (book, later):
        it.replace(HOME, [worker_report("wrk_1", port=8123)])
    before, after = book.find(HOME, WorkerId("wrk_1")), later.find(HOME, WorkerId("wrk_1"))
    assert before is not None
    assert after is not None
    assert before.is_same_process(after)
    assert before == after
