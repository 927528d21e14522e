"""Reads what a worker's process shows of its work: log, memory, reads, CPU time, counters."""

import asyncio
from pathlib import Path
from typing import Final, cast

import httpx
import psutil

from pool_core.workers.loading import Signs
from pool_core.workers.watchdog import LONGEST_TEXT, Counters, parse_counters

__all__ = ["read_counters", "read_signs", "resident_bytes"]

_ANSWER_S: Final = 3.0


def read_signs(pid: int, log_path: Path) -> Signs:
    """The signs of a process now; of one that is gone they are all 0."""
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            times = process.cpu_times()
            return Signs(
                log_bytes=_size(log_path),
                resident_bytes=int(process.memory_info().rss),
                read_bytes=_read_bytes(process),
                cpu_s=float(times.user + times.system),
            )
    except (psutil.Error, OSError):
        return Signs(log_bytes=_size(log_path))


def resident_bytes(pid: int | None) -> int | None:
    """How much memory a process holds now."""
    if pid is None:
        return None
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except (psutil.Error, OSError):
        return None


async def read_counters(url: str, key: str) -> Counters | None:
    """Ask a worker for its metrics once, on a connection of its own; None without an answer.

    An answer that holds no counters is one all the same: such a worker shows no busy slot.
    """
    # Engines close kept connections without a word, and no proxy may stand before our own loopback.
    once = httpx.Limits(max_keepalive_connections=0)
    transport = httpx.AsyncHTTPTransport(verify=False, limits=once)
    headers = {"Authorization": f"Bearer {key}", "Accept-Encoding": "identity"}
    try:
        async with (
            asyncio.timeout(_ANSWER_S),
            httpx.AsyncClient(transport=transport, timeout=_ANSWER_S, trust_env=False) as client,
            client.stream("GET", f"{url}/metrics", headers=headers) as answer,
        ):
            text = await _head(answer) if answer.status_code == 200 else ""
    except (httpx.HTTPError, TimeoutError):
        return None
    return parse_counters(text) or Counters(0, ())


async def _head(answer: httpx.Response) -> str:
    """As much of an answer as counters can take; an endless one must not fill our memory."""
    body = b""
    async for piece in answer.aiter_raw(LONGEST_TEXT):
        body += piece
        if len(body) >= LONGEST_TEXT:
            break
    return body[:LONGEST_TEXT].decode("utf-8", "replace")


def _read_bytes(process: psutil.Process) -> int:
    # Only some systems count reads; there the other signs have to do.
    counters = getattr(process, "io_counters", None)
    if counters is None:
        return 0
    try:
        return int(cast("int", counters().read_chars))
    except (psutil.Error, OSError, AttributeError):
        return 0


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
