"""A worker's log through the pool's real API: tail, follow, ends of all three sides."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from orchestrator_core.clients.pool import PoolClient
from orchestrator_core.contracts.pool import WorkerStatus
from orchestrator_core.errors import Code, LlorchError
from orchestrator_core.stream.sse import SseDecoder, SseEvent
from pool_managerd.api import logs
from support.pool_fakes import WORKER_ID, make_worker
from support.pool_site import OPERATOR_KEY, PoolSite, running_pool
from support.waiting import until

LOGS = f"/workers/{WORKER_ID}/logs"


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[PoolSite]:
    """A pool with one ready worker that has said three lines."""
    async with running_pool(tmp_path) as site:
        log = tmp_path / f"{WORKER_ID}.log"
        log.write_text("one\ntwo\nthree\n")
        site.workers.workers[WORKER_ID] = make_worker(status=WorkerStatus.READY)
        site.workers.logs = {WORKER_ID: log, "worker-cpu-0": log}
        yield site


@pytest.fixture
async def caller(site: PoolSite) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"authorization": f"Bearer {OPERATOR_KEY}"}
    async with httpx.AsyncClient(base_url=site.url, headers=headers, trust_env=False) as caller:
        yield caller


def say(site: PoolSite, text: str) -> None:
    with site.workers.logs[WORKER_ID].open("a") as log:
        log.write(text)


def end_worker(site: PoolSite) -> None:
    site.workers.workers[WORKER_ID] = make_worker(status=WorkerStatus.FAILED)


def shape(events: list[SseEvent]) -> list[tuple[str, str]]:
    return [(event.event, event.data) for event in events]


async def test_the_tail_ends_with_the_status(site: PoolSite, caller: httpx.AsyncClient) -> None:
    for name in (WORKER_ID, "worker-cpu-0"):
        answer = await caller.get(f"/workers/{name}/logs", params={"tail": 2})
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        assert shape(SseDecoder().feed(answer.content)) == [
            ("log", '{"line": "two"}'),
            ("log", '{"line": "three"}'),
            ("end", '{"status": "ready"}'),
        ]


async def test_the_log_of_a_forgotten_worker_is_read_by_its_id(
    site: PoolSite, caller: httpx.AsyncClient
) -> None:
    site.workers.workers.clear()
    answer = await caller.get(LOGS, params={"follow": 1, "tail": 0})
    assert shape(SseDecoder().feed(answer.content)) == [("end", '{"status": "stopped"}')]


@pytest.mark.parametrize("query", [{"tail": -1}, {"tail": 100_001}, {"tail": "x"}, {"follow": "x"}])
async def test_a_bad_question_is_explained(
    caller: httpx.AsyncClient, query: dict[str, str]
) -> None:
    answer = await caller.get(LOGS, params=query)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "INVALID_REQUEST")


async def test_what_has_no_log_is_said(site: PoolSite, caller: httpx.AsyncClient) -> None:
    unknown = await caller.get("/workers/worker-cpu-9/logs")
    assert unknown.json()["error"]["code"] == "WORKER_NOT_FOUND"
    site.workers.logs.clear()
    silent = await caller.get(LOGS)
    assert (silent.status_code, silent.json()["error"]["code"]) == (404, "NOT_FOUND")


async def test_the_orchestrator_may_not_read_what_may_hold_prompts(site: PoolSite) -> None:
    async with httpx.AsyncClient(base_url=site.url, trust_env=False) as nobody:
        assert (await nobody.get(LOGS)).status_code == 401


async def test_following_shows_new_lines_until_the_worker_ends(
    site: PoolSite, caller: httpx.AsyncClient
) -> None:
    decoder, seen = SseDecoder(), list[tuple[str, str]]()
    async with (
        asyncio.timeout(20),
        caller.stream("GET", LOGS, params={"follow": 1, "tail": 1}) as answer,
    ):
        async for chunk in answer.aiter_bytes():
            seen += shape(decoder.feed(chunk))
            if seen == [("log", '{"line": "three"}')]:
                say(site, "four\nlast words")
                end_worker(site)
    assert seen[1:] == [
        ("log", '{"line": "four"}'),
        ("log", '{"line": "last words"}'),
        ("end", '{"status": "failed"}'),
    ]


async def test_a_client_that_leaves_ends_its_stream(
    site: PoolSite, caller: httpx.AsyncClient
) -> None:
    async with caller.stream("GET", LOGS, params={"follow": 1}) as answer:
        assert await anext(answer.aiter_bytes())
        assert site.server.server_state.tasks
    await until(lambda: not site.server.server_state.tasks, what="the end of the stream")


async def test_only_so_many_logs_are_read_at_once(
    caller: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "_OPEN_MAX", 1)
    async with caller.stream("GET", LOGS, params={"follow": 1}) as answer:
        assert await anext(answer.aiter_bytes())
        refused = await caller.get(LOGS)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "RATE")

    async def is_let_in() -> bool:
        return (await caller.get(LOGS)).status_code == 200

    await until(is_let_in, what="the place of the reader that left")


async def test_a_daemon_that_stops_says_so_and_closes(
    site: PoolSite, caller: httpx.AsyncClient
) -> None:
    body = b""
    async with (
        asyncio.timeout(20),
        caller.stream("GET", LOGS, params={"follow": 1}) as answer,
    ):
        async for chunk in answer.aiter_bytes():
            body += chunk
            site.pool.stopping.set()
    assert body.endswith(b": pool-managerd stops; the worker goes on\n\n")
    assert [event.event for event in SseDecoder().feed(body)] == ["log"] * 3


class Reading(threading.Thread):
    """A command that reads lines as they come."""

    def __init__(self, lines: Iterator[str]) -> None:
        super().__init__()
        self.lines, self.seen = lines, list[str]()
        self.error: LlorchError | None = None

    def run(self) -> None:
        try:
            self.seen.extend(self.lines)
        except LlorchError as error:
            self.error = error


async def read(lines: Iterator[str]) -> Reading:
    reading = Reading(lines)
    reading.start()
    await asyncio.to_thread(reading.join)
    return reading


async def test_the_client_yields_plain_lines(site: PoolSite) -> None:
    with PoolClient(site.url, OPERATOR_KEY) as pool:
        assert (await read(pool.logs("worker-cpu-0", tail=2))).seen == ["two", "three"]
        following = Reading(pool.logs(WORKER_ID, follow=True))
        following.start()
        await until(lambda: len(following.seen) == 3, what="the old lines")
        say(site, "four\n")
        end_worker(site)
        await asyncio.to_thread(following.join)
    assert following.seen == ["one", "two", "three", "four"]


async def test_the_client_tells_a_refusal_from_a_stream_that_was_cut(site: PoolSite) -> None:
    with PoolClient(site.url, OPERATOR_KEY) as pool:
        refused = await read(pool.logs("nobody"))
        assert refused.error is not None
        assert refused.error.code is Code.WORKER_NOT_FOUND
        following = Reading(pool.logs(WORKER_ID, follow=True))
        following.start()
        await until(lambda: len(following.seen) == 3, what="the old lines")
        site.pool.stopping.set()
        await asyncio.to_thread(following.join)
    assert following.error is not None
    assert following.error.code is Code.UNREACHABLE
    assert "closed the log before its end" in following.error.refusal.message


async def test_the_client_drains_and_resumes(site: PoolSite) -> None:
    with PoolClient(site.url, OPERATOR_KEY) as pool:
        assert (await asyncio.to_thread(pool.drain)).draining
        assert not (await asyncio.to_thread(pool.resume)).draining
