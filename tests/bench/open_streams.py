"""Prints what an idle stream of events costs orchestratord, and how fast a thousand come back.

    ./dev bench open_streams

A real daemon; half of the readers share one queued job, the others have one each. Memory is the
daemon's own (RssAnon + VmSwap), so that what the kernel keeps for sockets is not in it. Nothing
here asserts: machines differ.
"""

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import httpx
import uvloop
from gateway.targets import Orchestrator, start_daemon

from support.waiting import until

_QUEUED = b"event: queued"
_WARM_UP = 50
_PATIENCE_S = 30.0


class Reader(asyncio.Protocol):
    """Opens one stream and reads what comes."""

    def __init__(self, key: str, job_id: str) -> None:
        self._ask = (
            f"GET /v2/tasks/{job_id}/events HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Authorization: Bearer {key}\r\n\r\n"
        ).encode()
        self._got = b""
        self._transport: asyncio.Transport | None = None
        self.begun = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._ask)

    def data_received(self, data: bytes) -> None:
        """See the first event."""
        if not self.begun.done():
            self._got += data
            if _QUEUED in self._got:
                self.begun.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Somebody has ended it."""
        if not self.begun.done():
            self.begun.set_exception(ConnectionError(f"{exc}: {self._got!r}"))

    def close(self) -> None:
        """Leave."""
        if self._transport is not None:
            self._transport.abort()


def memory_kb(pid: int) -> int:
    """What a process keeps for itself, swapped out or not."""
    lines = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return sum(int(fields[name].split()[0]) for name in ("RssAnon", "VmSwap"))


async def submit(target: Orchestrator, count: int) -> list[str]:
    """Queue jobs that no worker will take."""
    body = {"model": "tiny-chat", "prompt": "Hello"}
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{target.port}",
        headers={"Authorization": f"Bearer {target.key}"},
        trust_env=False,
    ) as client:
        replies = [await client.post("/v2/tasks", json=body) for _ in range(count)]
    return [str(json.loads(reply.content)["job_id"]) for reply in replies]


async def count_is(target: Orchestrator, count: int) -> None:
    """Wait until the daemon itself says that so many streams are open."""
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{target.port}",
        headers={"Authorization": f"Bearer {target.key}"},
        trust_env=False,
    ) as client:

        async def told() -> bool:
            lines = (await client.get("/metrics")).text.splitlines()
            return f"orchd_event_streams_open {float(count)}" in lines

        await until(told, timeout_s=_PATIENCE_S, what=f"{count} open streams")


async def open_all(target: Orchestrator, jobs: Sequence[str]) -> tuple[list[Reader], float]:
    """Open one stream per name at once; also tells how long it took until all had their events."""
    loop, began = asyncio.get_running_loop(), time.perf_counter()

    async def one(job_id: str) -> Reader:
        reader = Reader(target.key, job_id)
        await loop.create_connection(lambda: reader, "127.0.0.1", target.port)
        await reader.begun
        return reader

    readers = await asyncio.gather(*(one(job_id) for job_id in jobs))
    return list(readers), time.perf_counter() - began


async def run(count: int) -> None:
    """Measure once."""
    with tempfile.TemporaryDirectory() as folder:
        core = max(os.sched_getaffinity(0))
        with start_daemon("orchestratord", Path(folder) / "home", core) as (target, _):
            pid = target.pids()[0]
            jobs = await submit(target, count // 2)
            wanted = [*jobs, *([jobs[0]] * (count - len(jobs)))]
            warm, _ = await open_all(target, wanted[:_WARM_UP])
            await count_is(target, len(warm))
            before = memory_kb(pid)
            readers, took_s = await open_all(target, wanted[_WARM_UP:])
            await count_is(target, count)
            each = (memory_kb(pid) - before) / len(readers)
            print(f"{count} streams open in {took_s:.2f} s, {each:.1f} KB each while idle")
            for reader in (*warm, *readers):
                reader.close()
            await count_is(target, 0)
            readers, took_s = await open_all(target, wanted)
            print(f"{count} come back at once in {took_s:.2f} s")
            for reader in readers:
                reader.close()


if __name__ == "__main__":
    uvloop.run(run(int(sys.argv[1]) if len(sys.argv) > 1 else 900))
