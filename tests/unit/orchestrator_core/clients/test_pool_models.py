"""The client of a pool's models: typed orders, streams that survive cuts, refusals as errors."""

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import httpx
import pytest

from orchestrator_core.clients.pool import PoolClient
from orchestrator_core.clients.pool_models import PoolModels
from orchestrator_core.clients.resume import Resume
from orchestrator_core.contracts.downloads import DownloadOrder, DownloadReport, DownloadStage
from orchestrator_core.contracts.model_info import InfoOrder, ModelInfo
from orchestrator_core.contracts.models import (
    CatalogItem,
    CleanUpOrder,
    CleanUpReport,
    DeleteOrder,
    DeleteReport,
    DiskUsage,
    ImportOrder,
    StoredModel,
    VerifyOrder,
    VerifyReport,
)
from orchestrator_core.errors import Code, LlorchError
from orchestrator_core.stream import sse

STORED = StoredModel(id="tiny", source="hub", files=[], size_bytes=1000)
ITEM = CatalogItem(
    id="tiny", name="Tiny", description="small", aliases=[], repo=None, file="t.gguf", quant=None,
    size_bytes=None, license=None, trained_ctx=2048, origin="user", is_here=True,
)  # fmt: skip
INFO = ModelInfo(id="tiny", model="tiny", source="hub", is_here=True, files=[])
DELETED = DeleteReport(id="tiny", freed_bytes=1, kept_bytes=0, files=[])
CLEANED = CleanUpReport(deleted=[DELETED], kept={}, freed_bytes=1)
USAGE = DiskUsage(
    folder="/m", models=[STORED], model_bytes=1, shared_bytes=0, partial_bytes=0, orphan_bytes=0,
    disk_free_bytes=2, disk_total_bytes=3,
)  # fmt: skip
QUEUED = DownloadReport(id="dwn_1", model="tiny", stage=DownloadStage.QUEUED)
HALF = DownloadReport(id="dwn_1", model="tiny", stage=DownloadStage.TRANSFERRING, done_bytes=500)
DONE = DownloadReport(id="dwn_1", model="tiny", stage=DownloadStage.DONE, result=STORED)
VERIFIED = VerifyReport(id="tiny", ok=False, files=[])
EVENTS = "/models/downloads/dwn_1/events"


def listed(item: Any) -> dict[str, Any]:
    return {"items": [item.model_dump(mode="json")]}


REPLIES: dict[tuple[str, str], dict[str, Any]] = {
    ("GET", "/models"): listed(STORED),
    ("GET", "/models/catalog"): listed(ITEM),
    ("POST", "/models/info"): INFO.model_dump(mode="json"),
    ("POST", "/models/download"): QUEUED.model_dump(mode="json"),
    ("GET", "/models/downloads"): listed(QUEUED),
    ("GET", "/models/downloads/dwn_1"): HALF.model_dump(mode="json"),
    ("DELETE", "/models/downloads/dwn_1"): HALF.model_dump(mode="json"),
    ("POST", "/models/delete"): DELETED.model_dump(mode="json"),
    ("POST", "/models/clean-up"): CLEANED.model_dump(mode="json"),
    ("GET", "/models/disk-usage"): USAGE.model_dump(mode="json"),
}

Handler = Callable[[httpx.Request], httpx.Response]


class Script:
    """Answers by path, or with the next of the given answers; remembers what was asked."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.requests: list[httpx.Request] = []
        self.answers = list(answers)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if not self.answers:
            return httpx.Response(200, json=REPLIES[request.method, request.url.path])
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Body(httpx.SyncByteStream):
    """Pieces of a stream, and an error where the connection breaks."""

    def __init__(self, *pieces: bytes | Exception) -> None:
        self.pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        for piece in self.pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece


def streamed(*pieces: bytes | Exception) -> httpx.Response:
    headers = {"content-type": "text/event-stream"}
    return httpx.Response(200, headers=headers, stream=Body(*pieces))


def event(kind: str, data: Any) -> bytes:
    text = data if isinstance(data, str) else json.dumps(data)
    return sse.encode(event=kind, data=text)


def told(kind: str, report: DownloadReport) -> bytes:
    return event(kind, report.model_dump_json())


def refused(status: int, code: str, message: str = "no") -> httpx.Response:
    body = {"error": {"code": code, "message": message}}
    return httpx.Response(status, json=body)


@pytest.fixture
def opened() -> Iterator[Callable[[Handler], PoolModels]]:
    clients: list[PoolClient] = []

    def open_client(script: Handler) -> PoolModels:
        clients.append(PoolClient("http://p", "k", transport=httpx.MockTransport(script)))
        return clients[-1].models

    yield open_client
    for client in clients:
        client.close()


Open = Callable[[Handler], PoolModels]


class Patience:
    """Time that passes only while somebody pauses."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.pauses: list[float] = []

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now_s += seconds

    def resume(self) -> Resume:
        return Resume(monotonic_s=lambda: self.now_s, pause=self.pause)


def follow(
    models: PoolModels, patience: Patience | None = None, cuts: list[str] | None = None
) -> Iterable[DownloadReport]:
    on_cut = None if cuts is None else cuts.append
    resume = (patience or Patience()).resume()
    return models.follow_download("dwn_1", resume=resume, on_cut=on_cut)


def test_every_question_and_order_goes_to_its_route(opened: Open) -> None:
    script = Script()
    models = opened(script)
    assert models.models() == [STORED]
    assert models.catalog() == [ITEM]
    assert models.info(InfoOrder(model="tiny", ctx=64)) == INFO
    assert models.download(DownloadOrder(model="tiny", force=True)) == QUEUED
    assert models.downloads() == [QUEUED]
    assert models.download_report("dwn_1") == HALF
    assert models.cancel_download("dwn_1") == HALF
    assert models.delete(DeleteOrder(model="tiny", dry_run=True)) == DELETED
    assert models.clean_up(CleanUpOrder(free_bytes=5)) == CLEANED
    assert models.usage() == USAGE
    assert {(it.method, it.url.path) for it in script.requests} == set(REPLIES)
    bodies = {it.url.path: it.content for it in script.requests if it.content}
    order = DownloadOrder.model_validate_json(bodies["/models/download"])
    assert order == DownloadOrder(model="tiny", force=True)
    assert CleanUpOrder.model_validate_json(bodies["/models/clean-up"]).free_bytes == 5


@pytest.mark.parametrize("name", ["", "..", "a/b", "\udcff", "a\nb", "x" * 65, "?x=1"])
def test_what_no_download_can_be_called_never_reaches_a_path(opened: Open, name: str) -> None:
    script = Script()
    models = opened(script)
    for ask in (models.download_report, models.cancel_download, models.follow_download):
        with pytest.raises(LlorchError, match="no download has the id") as caught:
            ask(name)
        assert caught.value.code is Code.NOT_FOUND
    assert script.requests == []


def test_a_followed_download_yields_each_report_once_and_the_last_at_the_end(opened: Open) -> None:
    script = Script(
        streamed(b":\n\n", told("progress", QUEUED), told("progress", HALF), told("end", DONE))
    )
    assert list(follow(opened(script))) == [QUEUED, HALF, DONE]
    assert [it.url.path for it in script.requests] == [EVENTS]


@pytest.mark.parametrize("cut_by", [None, httpx.ReadError("reset"), httpx.ReadTimeout("silent")])
def test_a_cut_stream_is_taken_up_again(opened: Open, cut_by: Exception | None) -> None:
    cut = [told("progress", HALF), *([cut_by] if cut_by else [])]
    script = Script(streamed(*cut), streamed(told("progress", HALF), told("end", DONE)))
    patience, cuts = Patience(), list[str]()
    assert list(follow(opened(script), patience, cuts)) == [HALF, DONE]
    assert (len(cuts), patience.pauses) == (1, [0.2])


def test_a_pool_that_starts_again_is_waited_for(opened: Open) -> None:
    away = httpx.ConnectError("refused")
    script = Script(streamed(told("progress", HALF)), away, away, streamed(told("end", DONE)))
    patience = Patience()
    assert list(follow(opened(script), patience)) == [HALF, DONE]
    assert patience.pauses == [0.2, 0.4, 0.8]


def test_a_pool_that_stays_away_is_given_up(opened: Open) -> None:
    script = Script(*[httpx.ConnectError("refused")] * 100)
    patience = Patience()
    with pytest.raises(LlorchError, match="nothing answers") as caught:
        list(follow(opened(script), patience))
    assert caught.value.code is Code.UNREACHABLE
    assert 30 <= patience.now_s < 40


def test_a_pool_that_has_forgotten_the_download_is_not_asked_again(opened: Open) -> None:
    script = Script(streamed(told("progress", HALF)), refused(404, "NOT_FOUND", "order it again"))
    patience = Patience()
    with pytest.raises(LlorchError, match="order it again"):
        list(follow(opened(script), patience))
    assert len(script.requests) == 2


def test_a_pool_with_too_many_followers_is_asked_again(opened: Open) -> None:
    script = Script(refused(429, "RATE"), streamed(told("end", DONE)))
    assert list(follow(opened(script))) == [DONE]


@pytest.mark.parametrize("stage", [DownloadStage.FAILED, DownloadStage.CANCELLED])
def test_a_failure_is_a_last_report_and_no_error(opened: Open, stage: DownloadStage) -> None:
    last = HALF.model_copy(update={"stage": stage, "error_code": "DISK_LOW"})
    assert list(follow(opened(Script(streamed(told("end", last)))))) == [last]


def test_a_report_that_makes_no_sense_is_an_error_of_the_pool(opened: Open) -> None:
    script = Script(streamed(event("progress", {"id": "dwn_1", "model": "m", "stage": "flying"})))
    with pytest.raises(LlorchError, match="does not answer like pool-managerd: stage") as caught:
        list(follow(opened(script)))
    assert caught.value.code is Code.INTERNAL


def test_words_of_a_newer_pool_are_skipped(opened: Open) -> None:
    script = Script(streamed(event("weather", {"rain": 1}), told("end", DONE)))
    assert list(follow(opened(script))) == [DONE]


def test_a_verification_tells_its_progress_and_returns_its_reports(opened: Open) -> None:
    progress = {"what": "tiny.gguf", "done_bytes": 5, "total_bytes": 10}
    script = Script(
        streamed(
            b":\n\n",
            event("progress", progress),
            event("weather", {}),
            event("end", listed(VERIFIED)),
        )
    )
    heard: list[tuple[str, int, int]] = []
    order = VerifyOrder(model="tiny")
    found = opened(script).verify(order, tell=lambda *news: heard.append(news))
    assert (found, heard) == ([VERIFIED], [("tiny.gguf", 5, 10)])
    assert VerifyOrder.model_validate_json(script.requests[0].content) == order


def test_an_import_returns_what_it_took_in(opened: Open) -> None:
    script = Script(streamed(event("progress", {}), event("end", listed(STORED))))
    assert opened(script).take_in(ImportOrder(path="/a.gguf")) == [STORED]
    assert script.requests[0].url.path == "/models/import"


def test_a_refusal_before_or_within_a_long_act_is_its_error(opened: Open) -> None:
    body = {"error": {"code": "CONFLICT", "message": "taken", "details": {"id": "tiny"}}}
    for answer in (refused(409, "CONFLICT", "taken"), streamed(event("error", body))):
        with pytest.raises(LlorchError, match="taken") as caught:
            opened(Script(answer)).take_in(ImportOrder(path="/a.gguf"))
        assert caught.value.code is Code.CONFLICT


@pytest.mark.parametrize(
    ("pieces", "code", "line"),
    [
        ((b":\n\n",), Code.UNREACHABLE, "broke off before the end; repeat the command"),
        ((httpx.ReadError("reset"),), Code.UNREACHABLE, "closed the connection"),
        ((httpx.ReadTimeout("silent"),), Code.TIMEOUT, "did not answer in time"),
        ((event("error", {"no": "error"}),), Code.INTERNAL, "failed without a reason"),
        ((event("error", {"error": {"code": "NEW", "message": "m"}}),), Code.INTERNAL, "NEW: m"),
        ((event("end", {"items": 1}),), Code.INTERNAL, "items of /models/verify"),
    ],
)
def test_a_long_act_is_never_repeated_by_itself(
    opened: Open, pieces: tuple[bytes | Exception, ...], code: Code, line: str
) -> None:
    script = Script(streamed(*pieces))
    with pytest.raises(LlorchError, match=line) as caught:
        opened(script).verify(VerifyOrder())
    assert caught.value.code is code
    assert len(script.requests) == 1


@pytest.mark.parametrize(
    "ask",
    [
        lambda models: models.models(),
        lambda models: models.download(DownloadOrder(model="tiny")),
        lambda models: models.verify(VerifyOrder()),
        lambda models: models.take_in(ImportOrder(path="/a.gguf")),
    ],
)
def test_a_daemon_that_knows_nothing_of_models_is_named_as_older(
    ask: Callable[[PoolModels], object],
) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        error = {"code": "NOT_FOUND", "message": f"there is no {request.url.path}"}
        return httpx.Response(404, json={"error": {**error, "correlation_id": "c"}})

    transport = httpx.MockTransport(answer)
    with (
        PoolClient("http://127.0.0.1:1", "key", transport=transport) as client,
        pytest.raises(LlorchError, match="older than this command") as caught,
    ):
        ask(client.models)
    assert caught.value.code is Code.INTERNAL
