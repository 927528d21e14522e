"""An Idempotency-Key names one job of its caller: across retries, twins, restarts and hang-ups."""

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import httpx
import pytest

from orchestrator_core.errors import Code, DataError, HostError, Refusal
from orchestratord.store.memory import MemoryStore
from orchestratord.store.port import JobStore
from orchestratord.store.sqlite import SqliteStore, StoreOptions
from orchestratord.store.writes import AdmitJob, Write
from support.fake_engine import FakeEngine
from support.orchestrator import Orchestrator, running_orchestrator

KEY = "order-66"


async def submit(site: Orchestrator, key: str = KEY, **more: Any) -> httpx.Response:
    headers = {"idempotency-key": key, **more.pop("headers", {})}
    body = {"model": "tiny-chat", "prompt": "x", **more}
    return await site.client.post("/v2/tasks", json=body, headers=headers)


def admitted(reply: httpx.Response) -> str:
    assert reply.status_code == 202, reply.text
    return str(reply.json()["job_id"])


def is_replay(reply: httpx.Response) -> bool:
    return reply.headers.get("idempotent-replayed") == "true"


async def listed(site: Orchestrator) -> list[str]:
    page = (await site.client.get("/v2/tasks")).json()
    return [item["id"] for item in page["items"]]


async def test_the_same_body_gets_the_same_job(site: Orchestrator) -> None:
    first = await submit(site)
    again = await submit(site)
    assert (is_replay(first), is_replay(again)) == (False, True)
    assert admitted(again) == admitted(first)
    assert again.json()["events_url"] == first.json()["events_url"]
    assert await listed(site) == [admitted(first)]
    assert await site.metric("orchd_duplicate_idempotent_total") == 1


async def test_two_keys_in_one_head_name_no_job(site: Orchestrator) -> None:
    fields = [("idempotency-key", "one"), ("idempotency-key", "other")]
    body = {"model": "tiny-chat", "prompt": "x"}
    refused = await site.client.post("/v2/tasks", json=body, headers=fields)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "INVALID_REQUEST")
    assert await listed(site) == []


async def test_a_replay_tells_how_the_job_is_now(site: Orchestrator, engine: FakeEngine) -> None:
    job_id = admitted(await submit(site))
    await (await engine.next_call()).answer("a")
    await site.ended(job_id)
    again = await submit(site)
    assert (admitted(again), again.json()["status"]) == (job_id, "completed")
    assert again.json()["queue_position"] == 0


async def test_another_body_under_the_same_key_is_refused(site: Orchestrator) -> None:
    admitted(await submit(site))
    changes: list[dict[str, Any]] = [{"prompt": "y"}, {"seed": 1}, {"model": "tiny-story"}]
    for change in changes:
        refused = await submit(site, **change)
        assert refused.status_code == 422
        assert refused.json()["error"]["code"] == "IDEMPOTENCY_MISMATCH"
    assert len(await listed(site)) == 1


async def test_another_key_or_another_caller_gets_a_job_of_his_own(site: Orchestrator) -> None:
    user = {"authorization": f"Bearer {await site.make_key('user')}"}
    replies = [
        await submit(site),
        await submit(site, key="order-67"),
        await submit(site, headers=user),
        await submit(site, headers=user),
    ]
    assert [is_replay(reply) for reply in replies] == [False, False, False, True]
    assert len({admitted(reply) for reply in replies}) == 3


@pytest.mark.parametrize("key", ["", "a b", "a" * 256])
async def test_an_odd_key_is_refused(site: Orchestrator, key: str) -> None:
    refused = await submit(site, key=key)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "INVALID_REQUEST")
    assert await listed(site) == []


async def test_twins_of_one_moment_become_one_job(
    site: Orchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = SlowStore(site, monkeypatch)
    slow.go_on.set()
    replies = await asyncio.gather(*(submit(site) for _ in range(12)))
    assert len({admitted(reply) for reply in replies}) == 1
    assert sorted(is_replay(reply) for reply in replies) == [False] + [True] * 11
    # The others waited for the first one: none of them tried its luck with the store.
    assert slow.admissions == 1
    assert len(await listed(site)) == 1


async def test_a_replay_needs_no_room_and_spends_no_quota(tmp_path: Path) -> None:
    async with running_orchestrator(tmp_path, queue_limit=1) as site:
        limits = {"concurrent_jobs": 1, "requests_per_minute": 1}
        user = {"authorization": f"Bearer {await site.make_key('user', **limits)}"}
        first = await submit(site, headers=user)
        for _ in range(3):
            again = await submit(site, headers=user)
            assert is_replay(again)
            assert admitted(again) == admitted(first)


async def test_a_key_is_known_after_a_restart(tmp_path: Path) -> None:
    options = StoreOptions(synchronous="NORMAL")
    jobs: list[str] = []
    for _ in range(2):
        store = await SqliteStore.open(tmp_path / "orchestrator.db", options)
        try:
            async with running_orchestrator(tmp_path, store=store) as site:
                jobs.append(admitted(await submit(site)))
                assert (await submit(site, prompt="y")).status_code == 422
        finally:
            await store.close()
    assert jobs[0] == jobs[1]


class SlowStore:
    """Lets a test hold back, fail or double the admissions of a store."""

    def __init__(self, site: Orchestrator, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached = asyncio.Event()
        self.go_on = asyncio.Event()
        self.problem: BaseException | None = None
        self.forget_once = False
        self.admissions = 0
        self._submit = site.store.submit
        self._job_of = site.store.job_of
        monkeypatch.setattr(site.store, "submit", self.submit)
        monkeypatch.setattr(site.store, "job_of", self.job_of)

    def submit(self, write: Write) -> "asyncio.Future[int]":
        if not isinstance(write, AdmitJob):
            return self._submit(write)
        self.admissions += 1
        return asyncio.ensure_future(self._later(write))

    async def _later(self, write: Write) -> int:
        self.reached.set()
        await self.go_on.wait()
        if self.problem is not None:
            raise self.problem
        return await self._submit(write)

    async def job_of(self, *names: Any) -> Any:
        if self.forget_once:
            self.forget_once = False
            return None
        return await self._job_of(*names)


async def test_an_admission_that_failed_leaves_nothing(
    site: Orchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = SlowStore(site, monkeypatch)
    slow.problem = HostError(Refusal(Code.DISK_LOW, "the disk is full"))
    slow.go_on.set()
    refused = await submit(site)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "DISK_LOW")
    assert len(site.parts.jobs) == len(site.parts.ledger) == 0
    slow.problem = None
    assert not is_replay(again := await submit(site))
    assert await listed(site) == [admitted(again)]


async def test_a_twin_takes_over_from_a_first_one_that_failed(
    site: Orchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = SlowStore(site, monkeypatch)
    slow.problem = HostError(Refusal(Code.DISK_LOW, "the disk is full"))
    first = asyncio.create_task(submit(site))
    await slow.reached.wait()
    twin = asyncio.create_task(submit(site))
    slow.go_on.set()
    assert (await first).status_code == 503
    # What the twin gets is its own admission's word.
    assert (await twin).status_code == 503
    assert len(site.parts.ledger) == 0


async def test_a_row_that_came_first_after_all_is_found(
    site: Orchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = admitted(await submit(site))
    slow = SlowStore(site, monkeypatch)
    slow.go_on.set()
    # The store says CONFLICT to a second row, because the look-up came a moment too early.
    slow.forget_once = True
    again = await submit(site)
    assert is_replay(again)
    assert admitted(again) == job_id
    assert len(site.parts.ledger) == 1


async def test_a_submission_whose_client_left_is_queued_and_found_by_its_key(
    site: Orchestrator, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = SlowStore(site, monkeypatch)
    left = asyncio.create_task(submit(site))
    await slow.reached.wait()
    left.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await left
    slow.go_on.set()
    call = await engine.next_call()
    again = await submit(site)
    assert is_replay(again)
    await call.answer("a")
    assert (await site.ended(admitted(again)))["status"] == "completed"


async def test_an_admission_that_was_given_up_is_queued_all_the_same(
    site: Orchestrator, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = SlowStore(site, monkeypatch)
    handler = asyncio.create_task(submit(site))
    await slow.reached.wait()
    # What a stopping server does to the tasks of its requests.
    for task in site.server.server_state.tasks:
        task.cancel()
    slow.go_on.set()
    with contextlib.suppress(httpx.HTTPError):
        await handler
    await (await engine.next_call()).answer("a")
    job_id = admitted(again := await submit(site))
    assert is_replay(again)
    assert (await site.ended(job_id))["status"] == "completed"


async def test_a_conflict_without_a_job_is_not_hidden(tmp_path: Path) -> None:
    class Odd(MemoryStore):
        def submit(self, write: Write) -> "asyncio.Future[int]":
            if isinstance(write, AdmitJob):
                raise DataError(Refusal(Code.CONFLICT, "there is such a row"))
            return super().submit(write)

    store: JobStore = Odd()
    async with running_orchestrator(tmp_path, store=store) as site:
        refused = await submit(site)
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "CONFLICT")
        assert len(site.parts.ledger) == 0
