"""Questions about models in their own threads, and long acts that end with whoever listens."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence

import pytest

from orchestrator_core.contracts.model_info import InfoOrder
from orchestrator_core.contracts.models import (
    ActProgress,
    CleanUpOrder,
    DeleteOrder,
    ImportOrder,
    VerifyOrder,
    VerifyReport,
)
from orchestrator_core.contracts.pool import DeviceReport
from orchestrator_core.errors import Code, PeerError, Refusal
from pool_managerd.runtime.model_desk import LongAct, ModelDesk
from support.fake_library import FakeLibrary, Transfer, stored
from support.pool_fakes import WORKER_ID, FakeDevices, FakeWorkers, make_worker
from support.waiting import until

REPORTS = [VerifyReport(id="tiny", ok=True, files=[])]


class Site:
    """A desk over a library that does what the test says."""

    def __init__(self) -> None:
        self.library, self.workers = FakeLibrary(), FakeWorkers()
        self.workers.workers[WORKER_ID] = make_worker()
        self.changes: list[str] = []
        self.desk = ModelDesk(
            self.library,
            workers=self.workers.reports,
            devices=FakeDevices().reports,
            on_change=lambda: self.changes.append("models"),
        )

    def verify(self) -> LongAct[list[VerifyReport]]:
        act = self.desk.verify(VerifyOrder(model="tiny"))
        assert not isinstance(act, Refusal)
        return act

    async def begun(self, number: int = 1) -> Transfer:
        return await asyncio.to_thread(self.library.next, number)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    yield site
    site.desk.begin_stop()
    assert await site.desk.rest(20)


async def over(act: LongAct[list[VerifyReport]]) -> list[VerifyReport] | Refusal | None:
    async with asyncio.timeout(20):
        await act.news.finished.wait()
    return act.outcome


async def test_what_depends_on_workers_and_devices_is_told_of_them(site: Site) -> None:
    info, delete, clean_up = InfoOrder(model="m"), DeleteOrder(model="m"), CleanUpOrder()
    await site.desk.models()
    await site.desk.info(info)
    await site.desk.delete(delete)
    await site.desk.clean_up(clean_up)
    await site.desk.usage()
    workers = tuple(site.workers.reports())
    assert site.library.calls == [
        ("models", workers),
        ("info", (info, ("cpu",))),
        ("delete", (delete, (WORKER_ID,))),
        ("clean_up", (clean_up, (WORKER_ID,))),
        ("usage", workers),
    ]


async def test_a_hub_that_is_silent_keeps_nobody_from_what_is_here(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_answer = threading.Event()

    def info(order: InfoOrder, devices: Sequence[DeviceReport]) -> Refusal:
        del devices
        may_answer.wait(20)
        return Refusal(Code.TIMEOUT, f"the hub is silent about {order.model}")

    monkeypatch.setattr(site.library, "info", info)
    asking = [asyncio.create_task(site.desk.info(InfoOrder(model="m"))) for _ in range(8)]
    async with asyncio.timeout(10):
        assert await site.desk.models() == site.library.here
    assert not any(task.done() for task in asking)
    may_answer.set()
    assert all(isinstance(answer, Refusal) for answer in await asyncio.gather(*asking))


async def test_only_what_has_changed_models_is_told_on(site: Site) -> None:
    await site.desk.models()
    await site.desk.usage()
    site.library.answer = Refusal(Code.CONFLICT, "a worker holds it")
    assert await site.desk.delete(DeleteOrder(model="m")) == site.library.answer
    assert site.changes == []
    site.library.answer = None
    await site.desk.delete(DeleteOrder(model="m"))
    await site.desk.clean_up(CleanUpOrder())
    assert site.changes == ["models"] * 2


async def test_a_library_that_fails_is_a_refusal(site: Site) -> None:
    site.library.answer = PeerError(Refusal(Code.UNREACHABLE, "the hub is away"))
    assert await site.desk.info(InfoOrder(model="m")) == Refusal(
        Code.UNREACHABLE, "the hub is away"
    )
    site.library.answer = PermissionError(13, "Permission denied", "/models")
    line = "reading the models failed: /models: Permission denied"
    assert await site.desk.models() == Refusal(Code.INTERNAL, line)


async def test_a_verification_tells_how_far_it_is_and_what_it_found(site: Site) -> None:
    act = site.verify()
    running = await site.begun()
    running.say("tiny.gguf", 5, 10)
    await until(lambda: act.news.value is not None, what="the progress")
    assert act.news.value == ActProgress(what="tiny.gguf", done_bytes=5, total_bytes=10)
    running.end(REPORTS)
    assert await over(act) == REPORTS
    assert site.changes == ["models"]


async def test_an_import_that_is_refused_changes_nothing(site: Site) -> None:
    act = site.desk.take_in(ImportOrder(path="/a.gguf"))
    assert not isinstance(act, Refusal)
    (await site.begun()).end(Refusal(Code.CONFLICT, "another model has this name"))
    await act.news.finished.wait()
    assert act.outcome == Refusal(Code.CONFLICT, "another model has this name")
    assert site.changes == []


async def test_an_act_whose_listener_has_left_is_cancelled(site: Site) -> None:
    act = site.verify()
    await site.begun()
    act.cancel.set()
    outcome = await over(act)
    assert isinstance(outcome, Refusal)
    assert outcome.code is Code.CANCELLED


async def test_a_third_long_act_is_refused_and_questions_go_on(site: Site) -> None:
    first, _second = site.verify(), site.verify()
    await site.begun(2)
    refused = site.desk.take_in(ImportOrder(hub_cache=True))
    assert isinstance(refused, Refusal)
    assert refused.code is Code.RATE
    site.library.here = [stored()]
    assert await site.desk.models() == [stored()]
    site.library.running[0].end(REPORTS)
    site.library.running[1].end(REPORTS)
    await over(first)
    await until(lambda: not isinstance(site.desk.verify(VerifyOrder()), Refusal), what="a place")


async def test_a_stop_ends_long_acts_at_once_and_waits_for_their_threads(site: Site) -> None:
    act = site.verify()
    running = await site.begun()
    site.desk.begin_stop()
    assert isinstance(act.outcome, Refusal)
    assert act.outcome.code is Code.DRAINING
    assert running.cancel.is_set()
    assert await site.desk.rest(20)
    assert act.outcome.code is Code.DRAINING
