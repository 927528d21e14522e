"""Models of a real hub through the pool's real API: brought, looked at, cut, deleted."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from orchestrator_core.clients.pool import PoolClient
from orchestrator_core.clients.pool_models import PoolModels
from orchestrator_core.contracts.downloads import DownloadOrder, DownloadReport, DownloadStage
from orchestrator_core.contracts.model_info import InfoOrder
from orchestrator_core.contracts.models import DeleteOrder, ImportOrder, VerifyOrder
from orchestrator_core.errors import Code, LlorchError
from orchestrator_core.units import MIB
from support.fake_hub import FakeHub
from support.model_store import Bench, small_model
from support.pool_site import OPERATOR_KEY, PoolSite, running_pool

REPO, NAME = "org/tiny", "tiny-Q4_K_M.gguf"
MODEL = small_model(extra_bytes=3 * MIB)
MODEL_ID = f"hf:{REPO}:Q4_K_M"


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as hub:
        hub.add(REPO, {NAME: MODEL})
        yield hub


@pytest.fixture
def bench(tmp_path: Path, hub: FakeHub) -> Bench:
    return Bench(tmp_path, hub)


@contextlib.asynccontextmanager
async def daemon(bench: Bench) -> AsyncIterator[tuple[PoolSite, PoolModels]]:
    """A pool over a library of its own, as each new process opens it."""
    library = bench.open()
    async with running_pool(bench.folder, library=library, models=library.host_models()) as site:
        with PoolClient(site.url, OPERATOR_KEY) as client:
            yield site, client.models


async def bring(models: PoolModels, model: str = MODEL_ID) -> list[DownloadReport]:
    def follow() -> list[DownloadReport]:
        report = models.download(DownloadOrder(model=model))
        return list(models.follow_download(report.id))

    return await asyncio.to_thread(follow)


async def begin_and_hold(hub: FakeHub, models: PoolModels) -> tuple[str, threading.Event]:
    """A download whose file has come by a third."""
    gate = threading.Event()
    hub.faults.hold(gate, when=lambda it: it.method == "GET" and it.leg == "cdn", after_bytes=MIB)
    report = await asyncio.to_thread(models.download, DownloadOrder(model=MODEL_ID))
    await asyncio.to_thread(hub.wait_for, lambda it: it.leg == "cdn" and it.sent_bytes >= MIB)
    return report.id, gate


async def test_a_model_is_brought_shown_checked_and_deleted(bench: Bench, hub: FakeHub) -> None:
    async with daemon(bench) as (site, models):
        last = (await bring(models))[-1]
        assert (last.stage, last.error_message) == (DownloadStage.DONE, None)
        assert last.result is not None
        assert (last.result.id, last.fetched_bytes) == (MODEL_ID, len(MODEL))
        assert MODEL_ID in [report.id for report in site.pool.status().models]
        assert MODEL_ID in [it.id for it in await asyncio.to_thread(models.models)]
        info = await asyncio.to_thread(models.info, InfoOrder(model=MODEL_ID))
        assert (info.is_here, info.architecture) == (True, "llama")
        assert [fit.device_id for fit in info.fits] == ["cpu"]
        reports = await asyncio.to_thread(models.verify, VerifyOrder(model=MODEL_ID))
        assert [(it.id, it.ok) for it in reports] == [(MODEL_ID, True)]
        usage = await asyncio.to_thread(models.usage)
        assert usage.model_bytes == len(MODEL)
        deleted = await asyncio.to_thread(models.delete, DeleteOrder(model=MODEL_ID))
        assert deleted.freed_bytes == len(MODEL)
        assert MODEL_ID not in [report.id for report in site.pool.status().models]
    assert hub.sent_bytes(NAME) == len(MODEL)


async def test_what_is_here_already_is_done_at_once(bench: Bench, hub: FakeHub) -> None:
    async with daemon(bench) as (_site, models):
        await bring(models)
        hub.forget_requests()
        last = (await bring(models))[-1]
    assert (last.stage, last.fetched_bytes, last.note) == (
        DownloadStage.DONE,
        0,
        "it is here already",
    )
    assert hub.requests == []


async def test_a_cancelled_download_goes_on_with_the_next_order(bench: Bench, hub: FakeHub) -> None:
    async with daemon(bench) as (_site, models):
        download_id, gate = await begin_and_hold(hub, models)
        await asyncio.to_thread(models.cancel_download, download_id)
        gate.set()
        reports = await asyncio.to_thread(lambda: list(models.follow_download(download_id)))
        assert reports[-1].stage is DownloadStage.CANCELLED
        last = (await bring(models))[-1]
    assert last.stage is DownloadStage.DONE
    assert last.fetched_bytes < len(MODEL)


async def test_a_silent_hub_keeps_no_download_that_was_cancelled(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as hub:
        url = f"http://127.0.0.1:{hub.getsockname()[1]}"
        env = {"HF_ENDPOINT": url, "HF_HUB_DOWNLOAD_TIMEOUT": "600"}
        async with daemon(Bench(tmp_path, env=env)) as (_site, models):
            order = DownloadOrder(model=MODEL_ID)
            report = await asyncio.to_thread(models.download, order)
            asked, _ = await asyncio.to_thread(hub.accept)
            with asked:
                await asyncio.to_thread(models.cancel_download, report.id)
                following = asyncio.to_thread(lambda: list(models.follow_download(report.id)))
                async with asyncio.timeout(60):
                    last = (await following)[-1]
    assert (last.stage, last.error_code) == (DownloadStage.CANCELLED, "CANCELLED")


async def test_a_download_that_the_daemon_left_goes_on_under_the_next_one(
    bench: Bench, hub: FakeHub
) -> None:
    async with daemon(bench) as (site, models):
        download_id, gate = await begin_and_hold(hub, models)
        site.pool.begin_stop()
        report = await asyncio.to_thread(models.download_report, download_id)
        assert (report.stage, report.error_code) == (DownloadStage.FAILED, "DRAINING")
        gate.set()
    async with daemon(bench) as (_site, models):
        last = (await bring(models))[-1]
    assert last.stage is DownloadStage.DONE
    assert last.fetched_bytes < len(MODEL)


async def test_what_the_hub_refuses_is_the_last_report(bench: Bench, hub: FakeHub) -> None:
    hub.add("org/gated", {NAME: MODEL}, gated=True)
    async with daemon(bench) as (_site, models):
        gated = (await bring(models, "hf:org/gated:Q4_K_M"))[-1]
        absent = (await bring(models, "no-such-model"))[-1]
    assert (gated.stage, gated.error_code) == (DownloadStage.FAILED, "MODEL_GATED")
    assert (absent.stage, absent.error_code) == (DownloadStage.FAILED, "MODEL_NOT_FOUND")


async def test_a_file_of_the_host_is_taken_in(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "mine.gguf"
    path.write_bytes(MODEL)
    async with daemon(bench) as (_site, models):
        order = ImportOrder(path=str(path), id="mine")
        (taken,) = await asyncio.to_thread(models.take_in, order)
        assert (taken.id, taken.size_bytes) == ("mine", len(MODEL))
        path.write_bytes(b"no model at all")
        with pytest.raises(LlorchError) as caught:
            await asyncio.to_thread(models.take_in, order)
        assert caught.value.code is Code.MODEL_INCOMPATIBLE
