"""Draining through two real daemons: the pool's switch, the orchestrator's queue, both restarts."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from support.fake_engine import FakeEngine
from support.orchestrator import Orchestrator, ready_worker, running_orchestrator
from support.pool_site import OPERATOR_KEY, PoolSite, running_pool
from support.waiting import until


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Orchestrator]:
    async with running_orchestrator(tmp_path / "orchestrator") as site:
        yield site
        assert site.failures == []


@contextlib.asynccontextmanager
async def pool_of(site: Orchestrator, folder: Path, port: int) -> AsyncIterator[PoolSite]:
    key_file = _key_file(site, folder)
    async with running_pool(folder, orchestrator_url=site.url, key_file=key_file) as pool:
        worker = ready_worker(port)
        pool.workers.workers[worker.id] = worker
        pool.pool.announcer.poke()
        yield pool


def _key_file(site: Orchestrator, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    key_file = folder / "local-pool.key"
    key_file.write_text(site.pool_key)
    return key_file


async def turn(pool: PoolSite, verb: str) -> None:
    headers = {"authorization": f"Bearer {OPERATOR_KEY}"}
    async with httpx.AsyncClient(base_url=pool.url, headers=headers, trust_env=False) as caller:
        answer = await caller.post(f"/{verb}")
        assert answer.status_code == 200, answer.text
        assert answer.json()["draining"] is (verb == "drain")


async def becomes(site: Orchestrator, status: str) -> None:
    async def look() -> bool:
        pools = (await site.client.get("/v2/pools")).json()["items"]
        return [pool["status"] for pool in pools] == [status]

    await until(look, what=f"the pool to be {status}")


async def has_worker(site: Orchestrator) -> None:
    async def look() -> bool:
        return bool((await site.client.get("/v2/workers")).json()["items"])

    await until(look, what="the pool's worker")


async def test_what_runs_finishes_and_what_waits_goes_on_after_the_resume(
    site: Orchestrator, tmp_path: Path
) -> None:
    async with FakeEngine.listening() as engine, pool_of(site, tmp_path / "p", engine.port) as pool:
        await has_worker(site)
        first = await site.submit("a")
        call = await engine.next_call()
        await turn(pool, "drain")
        await becomes(site, "draining")
        second = await site.submit("b")
        waiting = await site.job(second)
        assert waiting["status"] == "queued"
        assert "pool home is draining" in waiting["why"]
        await call.answer("to the end")
        assert (await site.ended(first))["output"] == "to the end"
        assert (await site.job(second))["status"] == "queued"
        await turn(pool, "resume")
        await (await engine.next_call()).answer("at last")
        assert (await site.ended(second))["output"] == "at last"
        await becomes(site, "online")


async def test_a_restart_of_the_pool_forgets_nothing(site: Orchestrator, tmp_path: Path) -> None:
    async with FakeEngine.listening() as engine:
        async with pool_of(site, tmp_path / "p", engine.port) as pool:
            await has_worker(site)
            await turn(pool, "drain")
            await becomes(site, "draining")
        async with pool_of(site, tmp_path / "p", engine.port) as pool:
            await until(lambda: pool.pool.announcer.view.connected, what="the new session")
            await becomes(site, "draining")
            job_id = await site.submit()
            assert "pool home is draining" in (await site.job(job_id))["why"]
            await turn(pool, "resume")
            await (await engine.next_call()).answer("back")
            assert (await site.ended(job_id))["output"] == "back"


async def test_a_new_orchestrator_hears_of_it_with_the_first_word(tmp_path: Path) -> None:
    async with FakeEngine.listening() as engine, running_orchestrator(tmp_path / "o") as site:
        async with pool_of(site, tmp_path / "p", engine.port) as pool:
            await has_worker(site)
            await turn(pool, "drain")
        async with (
            running_orchestrator(tmp_path / "o2") as other,
            pool_of(other, tmp_path / "p", engine.port),
        ):
            await becomes(other, "draining")
