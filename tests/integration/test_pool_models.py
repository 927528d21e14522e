"""Models through the pool's real API and the real client: follow, leave, cancel, stop."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Generic, TypeVar

import httpx
import pytest

from orchestrator_core.clients.pool import PoolClient
from orchestrator_core.clients.pool_models import PoolModels
from orchestrator_core.clients.resume import Resume
from orchestrator_core.contracts.downloads import DownloadOrder, DownloadReport, DownloadStage
from orchestrator_core.contracts.models import ImportOrder, VerifyOrder, VerifyReport
from orchestrator_core.errors import Code, LlorchError
from pool_managerd.api import event_streams
from support.fake_library import FakeLibrary, Transfer, stored
from support.pool_site import OPERATOR_KEY, PoolSite, running_pool
from support.waiting import until

T = TypeVar("T")
REPORTS = [VerifyReport(id="tiny", ok=True, files=[])]


@pytest.fixture
def library() -> FakeLibrary:
    return FakeLibrary()


@pytest.fixture
async def site(tmp_path: Path, library: FakeLibrary) -> AsyncIterator[PoolSite]:
    async with running_pool(tmp_path, library=library) as site:
        yield site


@pytest.fixture
def models(site: PoolSite) -> Iterator[PoolModels]:
    with PoolClient(site.url, OPERATOR_KEY) as client:
        yield client.models


@pytest.fixture
async def caller(site: PoolSite) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"authorization": f"Bearer {OPERATOR_KEY}"}
    async with httpx.AsyncClient(base_url=site.url, headers=headers, trust_env=False) as caller:
        yield caller


class Command(threading.Thread, Generic[T]):
    """A command of a person that runs beside the test."""

    def __init__(self, act: Callable[[], T]) -> None:
        super().__init__()
        self._act = act
        self._result: list[T] = []
        self._error: LlorchError | None = None
        self.start()

    def run(self) -> None:
        try:
            self._result.append(self._act())
        except LlorchError as error:
            self._error = error

    async def result(self) -> T:
        await asyncio.to_thread(self.join, 20)
        if self._error is not None:
            raise self._error
        return self._result[0]


class Following(Command[None]):
    """A command that follows a download."""

    def __init__(self, reports: Iterator[DownloadReport]) -> None:
        self.seen: list[DownloadReport] = []
        super().__init__(lambda: self.seen.extend(reports))

    async def sees(self, done_bytes: int) -> None:
        await until(lambda: any(it.done_bytes == done_bytes for it in self.seen), what="a report")


async def begun(library: FakeLibrary, number: int = 1) -> Transfer:
    return await asyncio.to_thread(library.next, number)


async def ordered(models: PoolModels, model: str = "tiny") -> DownloadReport:
    return await asyncio.to_thread(models.download, DownloadOrder(model=model))


def streams_end(site: PoolSite) -> bool:
    return not site.server.server_state.tasks


async def test_a_download_is_followed_to_its_end(models: PoolModels, library: FakeLibrary) -> None:
    report = await ordered(models)
    following = Following(models.follow_download(report.id))
    transfer = await begun(library)
    transfer.report(400)
    await following.sees(400)
    transfer.report(700)
    await following.sees(700)
    transfer.end(stored("tiny"))
    await following.result()
    last = following.seen[-1]
    assert (last.stage, last.result, last.id) == (DownloadStage.DONE, stored("tiny"), report.id)


async def test_many_followers_see_the_same_end(models: PoolModels, library: FakeLibrary) -> None:
    report = await ordered(models)
    followings = [Following(models.follow_download(report.id)) for _ in range(3)]
    transfer = await begun(library)
    transfer.report(500)
    for following in followings:
        await following.sees(500)
    transfer.end(stored("tiny"))
    for following in followings:
        await following.result()
    assert {it.seen[-1].stage for it in followings} == {DownloadStage.DONE}


async def test_a_follower_that_leaves_does_not_end_the_download(
    site: PoolSite, models: PoolModels, library: FakeLibrary, caller: httpx.AsyncClient
) -> None:
    report = await ordered(models)
    transfer = await begun(library)
    async with caller.stream("GET", f"/models/downloads/{report.id}/events") as answer:
        assert await anext(answer.aiter_bytes())
    await until(lambda: streams_end(site), what="the end of the stream")
    assert not transfer.cancel.is_set()
    transfer.end(stored())
    following = Following(models.follow_download(report.id))
    await following.result()
    assert following.seen[-1].stage is DownloadStage.DONE


async def test_a_cancel_is_the_last_thing_a_follower_sees(
    models: PoolModels, library: FakeLibrary
) -> None:
    report = await ordered(models)
    following = Following(models.follow_download(report.id))
    await begun(library)
    await asyncio.to_thread(models.cancel_download, report.id)
    await following.result()
    assert following.seen[-1].stage is DownloadStage.CANCELLED


async def test_a_cut_follower_goes_on_with_the_newest_report(
    site: PoolSite, models: PoolModels, library: FakeLibrary
) -> None:
    report = await ordered(models)
    cuts: list[str] = []
    paused, may_go_on = threading.Event(), threading.Event()

    def pause(_seconds: float) -> None:
        paused.set()
        assert may_go_on.wait(20)

    reports = models.follow_download(report.id, resume=Resume(pause=pause), on_cut=cuts.append)
    following = Following(reports)
    transfer = await begun(library)
    transfer.report(100)
    await following.sees(100)
    for connection in list(site.server.server_state.connections):
        connection.transport.abort()  # type: ignore[union-attr]
    await asyncio.to_thread(paused.wait, 20)
    transfer.end(stored("tiny"))
    may_go_on.set()
    await following.result()
    assert len(cuts) == 1
    assert following.seen[-1].stage is DownloadStage.DONE


async def test_a_daemon_that_stops_tells_followers_at_once(
    site: PoolSite, models: PoolModels, library: FakeLibrary
) -> None:
    report = await ordered(models)
    following = Following(models.follow_download(report.id))
    transfer = await begun(library)
    transfer.report(100)
    await following.sees(100)
    site.pool.begin_stop()
    await following.result()
    last = following.seen[-1]
    assert (last.stage, last.error_code) == (DownloadStage.FAILED, "DRAINING")
    with pytest.raises(LlorchError) as caught:
        await ordered(models, "another")
    assert caught.value.code is Code.DRAINING


async def test_a_quiet_stream_is_kept_open_by_comments(
    models: PoolModels,
    library: FakeLibrary,
    caller: httpx.AsyncClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(event_streams, "_COMMENT_EVERY_S", 0.01)
    report = await ordered(models)
    transfer = await begun(library)
    body = b""
    async with (
        asyncio.timeout(20),
        caller.stream("GET", f"/models/downloads/{report.id}/events") as answer,
    ):
        async for chunk in answer.aiter_bytes():
            body += chunk
            if body.count(b":\n\n") == 4:
                transfer.end(stored())
    assert body.startswith(b":\n\nevent: progress\n")
    assert b"event: end\n" in body


async def test_a_slow_reader_misses_what_lay_between_and_never_the_end(
    models: PoolModels,
    library: FakeLibrary,
    caller: httpx.AsyncClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(event_streams, "_PAUSE_S", 20.0)
    report = await ordered(models)
    transfer = await begun(library)
    body = b""
    async with (
        asyncio.timeout(20),
        caller.stream("GET", f"/models/downloads/{report.id}/events") as answer,
    ):
        async for chunk in answer.aiter_bytes():
            body += chunk
            if body.count(b"event: progress") == 1 and not transfer.cancel.is_set():
                for done_bytes in range(1000):
                    transfer.report(done_bytes)
                transfer.end(stored())
    assert body.count(b"event: progress") == 1
    assert body.count(b"event: end") == 1


async def test_only_so_many_follow_at_once(
    models: PoolModels, caller: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_streams, "_OPEN_MAX", 1)
    report = await ordered(models)
    path = f"/models/downloads/{report.id}/events"
    async with asyncio.timeout(20), caller.stream("GET", path) as first:
        assert await anext(first.aiter_bytes())
        refused = await caller.get(path)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "RATE")
    await asyncio.to_thread(models.cancel_download, report.id)

    async def is_let_in() -> bool:
        return (await caller.get(path)).status_code == 200

    await until(is_let_in, what="the place of the follower that left")


async def test_a_verification_tells_its_progress_and_its_reports(
    models: PoolModels, library: FakeLibrary
) -> None:
    heard: list[tuple[str, int, int]] = []
    order = VerifyOrder(model="tiny")
    command = Command(lambda: models.verify(order, tell=lambda *news: heard.append(news)))
    running = await begun(library)
    running.say("tiny.gguf", 5, 10)
    await until(lambda: heard == [("tiny.gguf", 5, 10)], what="the progress")
    running.end(REPORTS)
    assert await command.result() == REPORTS


async def test_a_person_who_leaves_ends_the_verification(
    site: PoolSite, library: FakeLibrary, caller: httpx.AsyncClient
) -> None:
    async with caller.stream("POST", "/models/verify") as answer:
        assert await anext(answer.aiter_bytes())
        running = await begun(library)
        assert not running.cancel.is_set()
    await until(running.cancel.is_set, what="the cancelling")
    assert await site.pool.desk.rest(20)


@pytest.mark.parametrize("act", ["verify", "import"])
async def test_a_person_need_not_wait_for_the_next_word_to_leave(
    site: PoolSite, models: PoolModels, library: FakeLibrary, act: str
) -> None:
    leave: list[Callable[[], None]] = []

    def order() -> None:
        if act == "verify":
            models.verify(VerifyOrder(), on_open=leave.append)
        else:
            models.take_in(ImportOrder(path="/a.gguf"), on_open=leave.append)

    command = Command(order)
    running = await begun(library)
    await until(lambda: bool(leave), what="the open stream")
    leave[0]()
    with pytest.raises(LlorchError) as caught:
        await command.result()
    assert caught.value.code is Code.UNREACHABLE
    await until(running.cancel.is_set, what="the cancelling")
    assert await site.pool.desk.rest(20)


async def test_a_daemon_that_stops_ends_an_import_with_its_reason(
    site: PoolSite, models: PoolModels, library: FakeLibrary
) -> None:
    command = Command(lambda: models.take_in(ImportOrder(path="/a.gguf")))
    await begun(library)
    site.pool.begin_stop()
    with pytest.raises(LlorchError) as caught:
        await command.result()
    assert caught.value.code is Code.DRAINING


async def test_a_third_long_act_is_told_to_come_again(
    models: PoolModels, library: FakeLibrary
) -> None:
    commands = [Command(lambda: models.verify(VerifyOrder())) for _ in range(2)]
    await begun(library, 2)
    with pytest.raises(LlorchError, match="too many verifications and imports") as caught:
        await asyncio.to_thread(models.verify, VerifyOrder())
    assert caught.value.code is Code.RATE
    for running in library.running:
        running.end(REPORTS)
    assert [await command.result() for command in commands] == [REPORTS] * 2


async def test_questions_are_answered_while_everything_downloads(
    models: PoolModels, library: FakeLibrary
) -> None:
    library.here = [stored()]
    for number in range(6):
        await ordered(models, f"m{number}")
    await begun(library, 4)
    assert await asyncio.to_thread(models.models) == [stored()]
    assert len(await asyncio.to_thread(models.downloads)) == 6
