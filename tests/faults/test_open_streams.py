"""A thousand open streams, a fifth of whose clients stop reading: the others notice nothing.

A real orchestratord between a paced worker and bare clients. `./dev faults open_streams --full`
takes the full figures; the suite is content with a tenth of them.
"""

import asyncio
import contextlib
import os
import statistics
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import uvloop

from bench.gateway.targets import Orchestrator, start_daemon
from orchestrator_core.units import MIB
from support.open_streams import OpenStream, Tally, memory_bytes, open_streams
from support.paced_worker import LOUD, SHRILL, PacedWorker
from support.waiting import until

pytestmark = pytest.mark.e2e

SLOW_READER_S = 6.0
INTERVAL_S = 0.4
RATIO = 1.2
QUIET = "Tell me what you are, and go on for a while."


@dataclass(frozen=True)
class Figures:
    """How many streams there are of either kind, and how long they are looked at."""

    reading: int
    stalled: int
    look_s: float


@dataclass
class Look:
    """What the reading clients saw for a while."""

    chat_s: float
    events_s: float
    latency_s: float
    latency_p99_s: float
    memory_bytes: int

    def told(self, name: str) -> str:
        return (
            f"{name}: per token chat {self.chat_s * 1000:.1f} ms, events {self.events_s * 1000:.1f}"
            f" ms; on its way p50 {self.latency_s * 1000:.1f} ms, p99 "
            f"{self.latency_p99_s * 1000:.1f} ms; memory {self.memory_bytes / MIB:.1f} MiB"
        )


class Site:
    """The daemon, its worker, and everybody who reads."""

    def __init__(
        self,
        daemon: Orchestrator,
        worker: PacedWorker,
        figures: Figures,
        client: httpx.AsyncClient,
    ) -> None:
        self.daemon = daemon
        self.client = client
        self.worker = worker
        self.figures = figures
        self.tally = Tally()
        self.opened: list[OpenStream] = []
        self.chats: Sequence[OpenStream] = ()
        self.events: Sequence[OpenStream] = ()

    @property
    def reading(self) -> list[OpenStream]:
        return [*self.chats, *self.events]

    async def open(
        self, count: int, *, durable: bool, prompt: str = QUIET, stalls: bool = False
    ) -> Sequence[OpenStream]:
        tally = Tally() if stalls else self.tally
        async with asyncio.timeout(120):
            streams = await open_streams(
                self.daemon.port,
                self.daemon.key,
                prompt,
                count,
                durable=durable,
                stalls=stalls,
                tally=tally,
            )
        self.opened += streams
        return streams

    async def look(self, is_over: Callable[[], bool] = lambda: True) -> Look:
        """Measure for the time of one look, and on until something is over."""
        loop = asyncio.get_running_loop()
        for stream in self.reading:
            stream.mark()
        self.tally.latencies.clear()
        memory, until_s = 0, loop.time() + self.figures.look_s
        process = self.daemon.process
        assert process is not None

        def past() -> bool:
            nonlocal memory
            memory = max(memory, memory_bytes(process.pid))
            return loop.time() >= until_s and is_over()

        limit_s = self.figures.look_s + 60
        await until(past, timeout_s=limit_s, every_s=0.2, what="the end of the look")
        found = sorted(self.tally.latencies)
        return Look(
            chat_s=statistics.median(stream.per_token_s for stream in self.chats),
            events_s=statistics.median(stream.per_token_s for stream in self.events),
            latency_s=found[len(found) // 2],
            latency_p99_s=found[len(found) * 99 // 100],
            memory_bytes=memory,
        )

    async def metric(self, name: str) -> float:
        text = (await self.client.get("/metrics")).text
        line = next(line for line in text.splitlines() if line.startswith(f"{name} "))
        return float(line.rpartition(" ")[2])

    async def reaches(self, name: str, value: float) -> None:
        async def look() -> bool:
            return await self.metric(name) == value

        # Not asked too often: the answer is made by the daemon that is measured.
        await until(look, timeout_s=45, every_s=0.5, what=f"{name} to be {value:g}")


@contextlib.asynccontextmanager
async def running_site(folder: Path, figures: Figures) -> AsyncGenerator[Site]:
    worker = PacedWorker(INTERVAL_S)
    port = await worker.listen()
    core = max(os.sched_getaffinity(0))
    with start_daemon("orchestratord", folder / "home", core) as (daemon, pool_key):
        await daemon.announce(port, pool_key)
        beats = asyncio.create_task(daemon.beat_for_ever())
        client = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{daemon.port}",
            headers={"Authorization": f"Bearer {daemon.key}"},
            trust_env=False,
        )
        site = Site(daemon, worker, figures, client)
        try:
            yield site
        finally:
            for stream in site.opened:
                stream.close()
            beats.cancel()
            await asyncio.gather(beats, return_exceptions=True)
            worker.close()
            await client.aclose()
            await daemon.close()


async def drill(folder: Path, figures: Figures) -> None:
    async with running_site(folder, figures) as site:
        half, stalled_half = figures.reading // 2, figures.stalled // 2
        site.chats = await site.open(half, durable=False)
        site.events = await site.open(half, durable=True)
        alone = await site.look()
        print(f"\n{alone.told(f'{figures.reading} readers alone')}")
        left_before = site.worker.left_early
        chats = await site.open(stalled_half, durable=False, prompt=SHRILL, stalls=True)
        events = await site.open(stalled_half, durable=True, prompt=LOUD, stalls=True)

        async def all_dropped() -> None:
            # By us where they hold our own buffers full, else by the system that waits for them.
            await site.reaches("orchd_calls_open", half)
            await site.reaches("orchd_event_streams_open", half)

        dropped = asyncio.create_task(all_dropped())
        beside = await site.look(dropped.done)
        await dropped
        print(beside.told(f"beside {figures.stalled} that stalled"))
        growth = beside.memory_bytes - alone.memory_bytes
        print(
            f"memory grew by {growth / MIB:.1f} MiB, {growth / figures.stalled / 1024:.0f} KiB each"
        )
        assert beside.chat_s <= RATIO * alone.chat_s
        assert beside.events_s <= RATIO * alone.events_s
        assert growth <= figures.stalled * MIB + 50 * MIB

        # The dropped ones are gone on both sides: the calls let go of their slots.
        await site.reaches("orchd_slots_awaited", 0)
        assert await site.metric("orchd_sse_dropped_slow_total") > 0
        assert site.worker.left_early - left_before == stalled_half
        assert all(stream.is_stalled for stream in (*chats, *events))

        # Nobody who read has lost anything.
        assert not any(stream.lost for stream in site.reading)
        site.worker.end_all()
        async with asyncio.timeout(60):
            await asyncio.gather(*(stream.ended for stream in site.reading))
        assert [stream.all_tokens for stream in site.reading] == [
            stream.told_tokens for stream in site.reading
        ]
        await site.reaches("orchd_jobs_live", 0)
        assert await site.metric("orchd_cancel_unconfirmed_total") == 0


def test_clients_that_stall_cost_the_others_nothing(
    tmp_path: Path, full: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLORCH_ORCHESTRATOR_SLOW_READER_S", str(SLOW_READER_S))
    figures = Figures(800, 200, 8.0) if full else Figures(80, 20, 5.0)
    uvloop.run(drill(tmp_path, figures))
