"""Downloads: one per model, four at once, cancelled, remembered for a while, ended by a stop."""

import asyncio
from collections.abc import AsyncIterator
from itertools import count

import pytest

from orchestrator_core.contracts.downloads import DownloadOrder, DownloadReport, DownloadStage
from orchestrator_core.errors import Code, PeerError, Refusal
from pool_managerd.runtime.downloads import Downloads, Ordered
from pool_managerd.runtime.keyring import Caller
from support.fake_library import FakeLibrary, Transfer, stored
from support.pool_fakes import WORKER_ID, FakeWorkers, make_worker
from support.waiting import until

OPERATOR, ORCHESTRATOR = Caller.OPERATOR, Caller.ORCHESTRATOR


class Site:
    """Downloads over a library that does what the test says."""

    def __init__(self) -> None:
        self.library = FakeLibrary()
        self.workers = FakeWorkers()
        self.now_s = 0.0
        self.changes = 0
        numbers = count(1)
        self.downloads = Downloads(
            self.library,
            workers=self.workers.reports,
            new_id=lambda: f"dwn_{next(numbers)}",
            monotonic_s=lambda: self.now_s,
            on_change=self._count,
        )

    def _count(self) -> None:
        self.changes += 1

    def order(self, model: str = "tiny", caller: Caller = OPERATOR, **more: bool) -> Ordered:
        ordered = self.downloads.order(DownloadOrder(model=model, **more), caller)
        assert isinstance(ordered, Ordered)
        return ordered

    async def begun(self, number: int = 1) -> Transfer:
        return await asyncio.to_thread(self.library.next, number)

    def report(self, download_id: str = "dwn_1") -> DownloadReport:
        news = self.downloads.news(download_id)
        assert not isinstance(news, Refusal)
        return news.value

    async def ended(self, download_id: str = "dwn_1") -> DownloadReport:
        news = self.downloads.news(download_id)
        assert not isinstance(news, Refusal)
        async with asyncio.timeout(20):
            await news.finished.wait()
        return news.value


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    yield site
    site.downloads.begin_stop()
    assert await site.downloads.rest(20)


def stages(site: Site) -> list[str]:
    return [report.stage.value for report in site.downloads.reports()]


async def test_a_download_reports_until_the_model_is_there(site: Site) -> None:
    ordered = site.order()
    assert ordered.is_new
    assert (ordered.report.id, ordered.report.stage) == ("dwn_1", DownloadStage.QUEUED)
    transfer = await site.begun()
    transfer.report(400)
    report = await until(lambda: site.report().done_bytes and site.report(), what="the progress")
    assert isinstance(report, DownloadReport)
    assert (report.id, report.model, report.model_id) == ("dwn_1", "tiny", "tiny-id")
    transfer.end(stored("tiny-id"))
    last = await site.ended()
    assert (last.stage, last.result, last.done_bytes) == (
        DownloadStage.DONE,
        stored("tiny-id"),
        1000,
    )
    assert (last.files_done, last.files_total, last.fetched_bytes) == (1, 1, 400)
    assert site.changes == 1


async def test_that_it_is_done_is_said_when_the_thread_is(site: Site) -> None:
    site.order()
    transfer = await site.begun()
    transfer.report(1000, stage=DownloadStage.DONE)
    await asyncio.sleep(0)
    assert site.report().stage is DownloadStage.QUEUED
    transfer.end(stored())
    assert (await site.ended()).stage is DownloadStage.DONE


@pytest.mark.parametrize(
    ("result", "code", "line"),
    [
        (Refusal(Code.DISK_LOW, "no room"), "DISK_LOW", "no room"),
        (PeerError(Refusal(Code.UNREACHABLE, "away")), "UNREACHABLE", "away"),
        (ValueError("secret"), "INTERNAL", "the download of tiny failed; the log of pool-managerd"),
    ],
)
async def test_a_failure_is_the_last_report(
    site: Site, result: object, code: str, line: str
) -> None:
    site.order()
    transfer = await site.begun()
    transfer.report(400)
    transfer.end(result)
    last = await site.ended()
    assert (last.stage, last.error_code, last.fetched_bytes) == (DownloadStage.FAILED, code, 400)
    assert (last.error_message or "").startswith(line)
    assert site.changes == 0


@pytest.mark.parametrize("name", ["tiny", "tiny-id"])
async def test_a_model_that_is_on_its_way_is_not_ordered_twice(site: Site, name: str) -> None:
    site.order("tiny")
    transfer = await site.begun()
    transfer.report(1)
    await until(lambda: site.report().model_id, what="the id of the model")
    again = site.order(name)
    assert (again.is_new, again.report.id) == (False, "dwn_1")
    transfer.end(stored())
    await site.ended()
    assert site.order(name).is_new


async def test_a_download_that_is_being_cancelled_does_not_serve_the_next_order(site: Site) -> None:
    site.order()
    await site.begun()
    site.downloads.cancel("dwn_1", OPERATOR)
    assert site.order().is_new


async def test_four_run_and_thirty_two_wait(site: Site) -> None:
    for number in range(36):
        site.order(f"m{number}")
    await site.begun(4)
    refused = site.downloads.order(DownloadOrder(model="one more"), OPERATOR)
    assert isinstance(refused, Refusal)
    assert (refused.code, "too many downloads" in refused.message) == (Code.RATE, True)
    tally = site.downloads.tally()
    assert (tally.running, tally.queued, len(site.library.running)) == (4, 32, 4)
    site.library.running[0].end(stored())
    assert (await site.begun(5)).model == "m4"
    assert site.order("one more").is_new


async def test_a_download_sees_the_workers_of_now_however_long_ago_it_was_ordered(
    site: Site,
) -> None:
    site.order()
    transfer = await site.begun()
    assert await asyncio.to_thread(list, transfer.workers) == []
    site.workers.workers[WORKER_ID] = make_worker()
    assert [it.id for it in await asyncio.to_thread(list, transfer.workers)] == [WORKER_ID]
    transfer.end(stored())


async def test_a_cancel_stops_the_thread_and_is_idempotent(site: Site) -> None:
    site.order()
    transfer = await site.begun()
    report = site.downloads.cancel("dwn_1", OPERATOR)
    assert isinstance(report, DownloadReport)
    assert report.note == "is being cancelled"
    last = await site.ended()
    assert transfer.cancel.is_set()
    assert (last.stage, last.error_code) == (DownloadStage.CANCELLED, "CANCELLED")
    assert last.error_message == "stopped; what was fetched is kept"
    assert site.downloads.cancel("dwn_1", OPERATOR) == last


async def test_a_cancel_gives_up_the_place_in_the_line_at_once(site: Site) -> None:
    for number in range(5):
        site.order(f"m{number}")
    report = site.downloads.cancel("dwn_5", OPERATOR)
    assert isinstance(report, DownloadReport)
    assert report.stage is DownloadStage.CANCELLED
    (await site.begun(4)).end(stored())
    await until(lambda: stages(site).count("done") == 1, what="the end of one")
    assert len(site.library.running) == 4


async def test_what_was_done_before_it_was_cancelled_stays_done(site: Site) -> None:
    site.order()
    transfer = await site.begun()
    transfer.end(stored())
    await site.ended()
    report = site.downloads.cancel("dwn_1", OPERATOR)
    assert isinstance(report, DownloadReport)
    assert report.stage is DownloadStage.DONE


async def test_the_orchestrator_cancels_only_what_no_person_has_ordered(site: Site) -> None:
    site.order("mine", OPERATOR)
    site.order("theirs", ORCHESTRATOR)
    site.order("both", ORCHESTRATOR)
    site.order("both", OPERATOR)
    refusals = [site.downloads.cancel(f"dwn_{number}", ORCHESTRATOR) for number in (1, 2, 3)]
    codes = [it.code if isinstance(it, Refusal) else None for it in refusals]
    assert codes == [Code.SCOPE, None, Code.SCOPE]
    assert isinstance(site.downloads.cancel("dwn_1", OPERATOR), DownloadReport)


async def test_an_unknown_download_is_not_found(site: Site) -> None:
    for answer in (site.downloads.news("dwn_9"), site.downloads.cancel("dwn_9", OPERATOR)):
        assert isinstance(answer, Refusal)
        assert answer.code is Code.NOT_FOUND
        assert "order the model again" in answer.message


async def test_ended_downloads_are_forgotten_after_an_hour(site: Site) -> None:
    site.order("old")
    (await site.begun(1)).end(stored())
    await site.ended("dwn_1")
    site.now_s = 1800
    site.order("young")
    (await site.begun(2)).end(stored())
    await site.ended("dwn_2")
    site.order("running")
    site.now_s = 3601
    assert [report.model for report in site.downloads.reports()] == ["young", "running"]
    site.now_s = 1e6
    assert [report.model for report in site.downloads.reports()] == ["running"]


async def test_only_the_last_hundred_are_remembered(site: Site) -> None:
    site.library.waits = False
    for number in range(1, 103):
        site.now_s = number
        site.order(f"m{number}")
        await site.ended(f"dwn_{number}")
    kept = [report.id for report in site.downloads.reports()]
    assert (len(kept), kept[0], kept[-1]) == (100, "dwn_3", "dwn_102")


async def test_the_tally_counts_ends_and_bytes_of_this_daemon(site: Site) -> None:
    site.order("a")
    first = await site.begun(1)
    first.report(300)
    first.end(stored())
    await site.ended("dwn_1")
    site.order("b")
    second = await site.begun(2)
    second.report(200)
    await until(lambda: site.downloads.tally().fetched_bytes == 500, what="the bytes of both")
    second.end(Refusal(Code.DISK_LOW, "no room"))
    await site.ended("dwn_2")
    tally = site.downloads.tally()
    assert (tally.running, tally.queued, tally.fetched_bytes) == (0, 0, 500)
    assert tally.ended == {
        DownloadStage.DONE: 1,
        DownloadStage.FAILED: 1,
        DownloadStage.CANCELLED: 0,
    }


async def test_a_stop_ends_everything_at_once_and_waits_for_the_threads(site: Site) -> None:
    for number in range(5):
        site.order(f"m{number}")
    await site.begun(4)
    site.downloads.begin_stop()
    reports = site.downloads.reports()
    assert {(it.stage, it.error_code) for it in reports} == {(DownloadStage.FAILED, "DRAINING")}
    assert "order it again" in (reports[0].error_message or "")
    assert await site.downloads.rest(20)
    assert len(site.library.running) == 4
    refused = site.downloads.order(DownloadOrder(model="late"), OPERATOR)
    assert isinstance(refused, Refusal)
    assert refused.code is Code.DRAINING


async def test_a_thread_that_heeds_no_stop_is_left_after_the_time(site: Site) -> None:
    site.order()
    transfer = await site.begun()
    transfer.cancel = type(transfer.cancel)()
    site.downloads.begin_stop()
    assert not await site.downloads.rest(0)
    transfer.end(stored())
    assert await site.downloads.rest(20)
    assert site.report().stage is DownloadStage.FAILED
    assert site.changes == 0
