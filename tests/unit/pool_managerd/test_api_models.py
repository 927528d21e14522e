"""What the pool answers about models: views, orders, events, and what an orchestrator may not."""

import asyncio
import json

import httpx
import pytest

from orchestrator_core.contracts.downloads import DownloadOrder, DownloadReport, DownloadStage
from orchestrator_core.contracts.model_info import ModelInfo
from orchestrator_core.contracts.models import CleanUpOrder, VerifyOrder
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.stream.sse import SseDecoder
from pool_managerd.runtime.keyring import Caller, Keyring
from pool_managerd.runtime.pool import Pool
from support.fake_library import FakeLibrary, stored


@pytest.fixture
async def caller(api: httpx.AsyncClient, operator: dict[str, str]) -> httpx.AsyncClient:
    """The operator."""
    api.headers.update(operator)
    return api


def events(answer: httpx.Response) -> list[tuple[str, object]]:
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    return [(it.event, json.loads(it.data)) for it in SseDecoder().feed(answer.content)]


async def ended(pool: Pool, download_id: str) -> DownloadReport:
    news = pool.downloads.news(download_id)
    assert not isinstance(news, Refusal)
    async with asyncio.timeout(20):
        await news.finished.wait()
    return news.value


async def test_lists_what_is_here_what_is_known_and_what_it_takes_up(
    caller: httpx.AsyncClient, library: FakeLibrary
) -> None:
    library.here = [stored()]
    assert (await caller.get("/models")).json()["items"][0]["id"] == "tiny-llama"
    assert (await caller.get("/models/catalog")).json()["items"][0]["repo"] == "org/tiny"
    assert (await caller.get("/models/disk-usage")).json()["disk_free_bytes"] == 5


async def test_info_delete_and_clean_up_are_passed_on(
    caller: httpx.AsyncClient, library: FakeLibrary, changes: list[str]
) -> None:
    order = {"model": "m", "ctx": 4096, "cache_type_k": "q8_0"}
    assert (await caller.post("/models/info", json=order)).json()["id"] == "m"
    assert (await caller.post("/models/delete", json={"model": "m"})).json()["freed_bytes"] == 1000
    answer = await caller.post("/models/clean-up", json={"unused_s": 60, "dry_run": True})
    assert answer.json()["kept"] == {"tiny": "in use"}
    assert changes == ["models", "models"]
    assert library.calls[-1] == ("clean_up", (CleanUpOrder(unused_s=60, dry_run=True), ()))


async def test_a_refusal_of_the_library_keeps_its_code(
    caller: httpx.AsyncClient, library: FakeLibrary
) -> None:
    library.answer = Refusal(Code.MODEL_GATED, "accept the terms", {"repo": "org/tiny"})
    for path in ("/models/info", "/models/delete"):
        answer = await caller.post(path, json={"model": "m"})
        assert answer.status_code == 403
        assert answer.json()["error"]["code"] == "MODEL_GATED"
        assert answer.json()["error"]["details"] == {"repo": "org/tiny"}


@pytest.mark.parametrize(
    ("path", "body", "line"),
    [
        ("/models/info", {"model": "m", "colour": 1}, 'unknown field "colour"'),
        ("/models/info", {"model": "m", "ctx": 1}, 'field "ctx": input should be greater'),
        ("/models/download", {}, 'field "model" is missing'),
        ("/models/download", {"model": "m", "via": "ftp"}, 'field "via": input should be'),
        ("/models/verify", {"modle": "m"}, 'unknown field "modle"'),
        ("/models/delete", {"model": "m", "force": True}, 'unknown field "force"'),
        ("/models/clean-up", {"free_bytes": -1}, 'field "free_bytes": input should be greater'),
        ("/models/import", {"path": ""}, 'field "path": string should have at least 1'),
        ("/models/import", {"id": "../../x"}, 'field "id": string should match'),
    ],
)
async def test_a_bad_order_is_explained_in_one_line_that_names_the_field(
    caller: httpx.AsyncClient, library: FakeLibrary, path: str, body: dict[str, object], line: str
) -> None:
    answer = await caller.post(path, json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "INVALID_REQUEST")
    assert line in answer.json()["error"]["message"]
    assert library.calls == []


@pytest.mark.parametrize("path", ["info", "delete", "clean-up", "import", "download"])
async def test_nothing_is_deleted_or_brought_without_a_body(
    caller: httpx.AsyncClient, library: FakeLibrary, path: str
) -> None:
    answer = await caller.post(f"/models/{path}")
    assert answer.status_code == 400
    assert library.calls == []


async def test_a_download_is_accepted_and_the_same_model_again_is_the_same_one(
    caller: httpx.AsyncClient, library: FakeLibrary, pool: Pool
) -> None:
    library.waits = True
    order = {"model": "tiny", "make_room": True}
    first = await caller.post("/models/download", json=order)
    second = await caller.post("/models/download", json=order)
    assert (first.status_code, second.status_code) == (202, 200)
    assert first.json()["id"] == second.json()["id"] == "dwn_0"
    listed = (await caller.get("/models/downloads")).json()["items"]
    assert [it["id"] for it in listed] == ["dwn_0"]
    (await asyncio.to_thread(library.next)).end(stored())
    await ended(pool, "dwn_0")
    report = DownloadReport.model_validate_json(
        (await caller.get("/models/downloads/dwn_0")).content
    )
    assert (report.stage, report.result) == (DownloadStage.DONE, stored())
    assert library.calls == [("download", DownloadOrder(model="tiny", make_room=True))]


async def test_the_events_of_a_download_end_with_its_last_report(
    caller: httpx.AsyncClient, pool: Pool
) -> None:
    await caller.post("/models/download", json={"model": "tiny"})
    last = await ended(pool, "dwn_0")
    answer = await caller.get("/models/downloads/dwn_0/events")
    assert events(answer) == [("end", json.loads(last.model_dump_json()))]


async def test_a_cancel_answers_with_the_report_and_may_be_repeated(
    caller: httpx.AsyncClient, library: FakeLibrary, pool: Pool
) -> None:
    library.waits = True
    await caller.post("/models/download", json={"model": "tiny"})
    await asyncio.to_thread(library.next)
    assert (await caller.delete("/models/downloads/dwn_0")).json()["note"] == "is being cancelled"
    assert (await ended(pool, "dwn_0")).stage is DownloadStage.CANCELLED
    again = await caller.delete("/models/downloads/dwn_0")
    assert (again.status_code, again.json()["stage"]) == (200, "cancelled")


@pytest.mark.parametrize(("method", "rest"), [("GET", ""), ("DELETE", ""), ("GET", "/events")])
@pytest.mark.parametrize("name", ["dwn_9", "%2e%2e", "x" * 300])
async def test_an_unknown_download_is_not_found(
    caller: httpx.AsyncClient, method: str, rest: str, name: str
) -> None:
    answer = await caller.request(method, f"/models/downloads/{name}{rest}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "NOT_FOUND")


async def test_a_verification_streams_to_its_reports(
    caller: httpx.AsyncClient, library: FakeLibrary
) -> None:
    answer = await caller.post("/models/verify")
    assert events(answer)[-1] == ("end", {"items": [{"id": "all", "ok": True, "files": []}]})
    await caller.post("/models/verify", json={"model": "tiny"})
    assert library.calls == [
        ("verify", VerifyOrder()),
        ("verify", VerifyOrder(model="tiny")),
    ]


async def test_an_import_streams_to_the_models_it_took_in(caller: httpx.AsyncClient) -> None:
    answer = await caller.post("/models/import", json={"path": "/data/a.gguf"})
    kind, data = events(answer)[-1]
    assert (kind, data) == ("end", {"items": [json.loads(stored().model_dump_json())]})


async def test_a_refusal_within_a_stream_is_its_last_event(
    caller: httpx.AsyncClient, library: FakeLibrary
) -> None:
    library.answer = Refusal(Code.MODEL_NOT_FOUND, "there is no model", {"nearest": ["tiny"]})
    answer = await caller.post("/models/verify", json={"model": "m"})
    (event,) = events(answer)
    assert event == (
        "error",
        {
            "error": {
                "code": "MODEL_NOT_FOUND",
                "message": "there is no model",
                "details": {"nearest": ["tiny"]},
                "correlation_id": answer.headers["x-correlation-id"],
            }
        },
    )


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/models/download", {"model": "file:/etc/passwd"}, "model"),
        ("/models/info", {"model": "file:/etc/passwd"}, "model"),
        ("/models/download", {"model": "tiny", "make_room": True}, "make_room"),
    ],
)
async def test_an_orchestrator_names_no_files_and_deletes_nothing(
    api: httpx.AsyncClient,
    operator: dict[str, str],
    keyring: Keyring,
    library: FakeLibrary,
    path: str,
    body: dict[str, object],
    field: str,
) -> None:
    control = {"authorization": f"Bearer {keyring.offer()}"}
    refused = await api.post(path, json=body, headers=control)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "SCOPE")
    assert refused.json()["error"]["details"] == {"field": field}
    assert library.calls == []
    assert (await api.post(path, json=body, headers=operator)).status_code in (200, 202)


@pytest.mark.parametrize("name", ["tiny", "hf:org/tiny:Q4_0"])
async def test_an_orchestrator_brings_what_has_a_name(
    api: httpx.AsyncClient, keyring: Keyring, name: str
) -> None:
    control = {"authorization": f"Bearer {keyring.offer()}"}
    for path, status in (("/models/info", 200), ("/models/download", 202)):
        answer = await api.post(path, json={"model": name}, headers=control)
        assert answer.status_code == status


async def test_an_orchestrator_is_not_told_where_files_lie(
    api: httpx.AsyncClient,
    operator: dict[str, str],
    keyring: Keyring,
    library: FakeLibrary,
    pool: Pool,
) -> None:
    library.here = [stored()]
    path = '"path":"/'
    control = {"authorization": f"Bearer {keyring.offer()}"}
    library.answer = ModelInfo(
        id="tiny", model="tiny", source="hub", is_here=True, files=stored().files
    )
    for headers, is_told in ((operator, True), (control, False)):
        answer = await api.post("/models/info", json={"model": "tiny"}, headers=headers)
        assert (path in answer.text, answer.status_code) == (is_told, 200)
    library.answer = None
    await api.post("/models/download", json={"model": "tiny"}, headers=control)
    await ended(pool, "dwn_0")
    asked = [
        ("GET", "/models"),
        ("GET", "/models/downloads"),
        ("GET", "/models/downloads/dwn_0"),
        ("GET", "/models/downloads/dwn_0/events"),
        ("DELETE", "/models/downloads/dwn_0"),
    ]
    for method, place in asked:
        for headers, is_told in ((operator, True), (control, False)):
            answer = await api.request(method, place, headers=headers)
            assert (path in answer.text, answer.status_code) == (is_told, 200), place


async def test_an_orchestrator_does_not_cancel_what_a_person_ordered(
    api: httpx.AsyncClient, keyring: Keyring, library: FakeLibrary, pool: Pool
) -> None:
    library.waits = True
    control = {"authorization": f"Bearer {keyring.offer()}"}
    pool.downloads.order(DownloadOrder(model="tiny"), Caller.OPERATOR)
    refused = await api.delete("/models/downloads/dwn_0", headers=control)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "SCOPE")


@pytest.mark.parametrize("path", ["/models/info", "/models/download"])
async def test_a_malformed_reference_is_refused_before_anything_begins(
    caller: httpx.AsyncClient, library: FakeLibrary, path: str
) -> None:
    answer = await caller.post(path, json={"model": "hf:nonsense"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "INVALID_REQUEST")
    assert library.calls == []


async def test_a_full_line_says_when_to_come_back(
    caller: httpx.AsyncClient, library: FakeLibrary
) -> None:
    library.waits = True
    answers = [
        await caller.post("/models/download", json={"model": f"m{number}"}) for number in range(37)
    ]
    assert [it.status_code for it in answers] == [202] * 36 + [429]
    assert answers[-1].headers["retry-after"] == "5"


async def test_metrics_show_models_and_downloads(caller: httpx.AsyncClient, pool: Pool) -> None:
    await caller.post("/models/download", json={"model": "tiny"})
    await ended(pool, "dwn_0")
    lines = (await caller.get("/metrics")).text.splitlines()
    assert 'pool_mgr_downloads_ended_total{outcome="done"} 1.0' in lines
    assert "pool_mgr_models_total 1.0" in lines
