"""Twice as many submissions as there is room: exactly the bound is taken, and all of it survives.

What is printed is not judged but for a bound on memory that no sound build comes near.
"""

import asyncio
import statistics
import time
from collections import Counter

import httpx
import pytest

from support.admission_drill import Flood, resident_bytes
from support.events import api
from support.faults import kill
from support.home import Home

pytestmark = pytest.mark.e2e

BOUND = 10_000
PAGE = 50
JOB_BYTES_MAX = 24 * 1024


@pytest.fixture
def orchestrator(empty_home: Home) -> Home:
    """An orchestratord that no pool ever comes to; one key and one model may take all its room."""
    for name in ("QUEUE_LIMIT", "KEY_QUEUE_LIMIT", "MODEL_QUEUE_LIMIT"):
        empty_home.env[f"LLORCH_ORCHESTRATOR_{name}"] = str(BOUND)
    empty_home.llorch("orchestrator", "start").must()
    return empty_home


def walk(client: httpx.Client, **query: str) -> tuple[list[str], list[float]]:
    """Every job of a listing in pages, and how long each page took in ms."""
    found: list[str] = []
    took_ms: list[float] = []
    cursor: str | None = None
    while True:
        asked = query | {"limit": str(PAGE)} | ({"cursor": cursor} if cursor else {})
        begun = time.perf_counter()
        page = client.get("/v2/tasks", params=asked).json()
        took_ms.append((time.perf_counter() - begun) * 1e3)
        found += [item["id"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            return found, took_ms


def test_exactly_the_bound_is_taken_and_none_of_it_is_lost(orchestrator: Home) -> None:
    home, flood = orchestrator, Flood(orchestrator.url, orchestrator.key)
    pid = home.pid("orchestratord")
    before = resident_bytes(pid)
    begun = time.perf_counter()
    asyncio.run(flood.send(2 * BOUND))
    took_s = time.perf_counter() - begun
    job_bytes = (resident_bytes(pid) - before) / BOUND
    print(f"\n{2 * BOUND} submissions in {took_s:.1f} s: {2 * BOUND / took_s:.0f} a second")
    print(f"memory of a queued job: {job_bytes / 1024:.1f} KiB")

    assert len(set(flood.admitted)) == len(flood.admitted) == BOUND
    assert Counter(it[:2] for it in flood.refused) == {(429, "QUEUE_FULL"): BOUND}
    assert all(1 <= retry_after_s <= 60 for _, _, retry_after_s in flood.refused)
    assert job_bytes < JOB_BYTES_MAX

    with api(home) as client:
        begun = time.perf_counter()
        listed, took_ms = walk(client, status="queued")
        whole_s = time.perf_counter() - begun
    middle, most = statistics.median(took_ms), statistics.quantiles(took_ms, n=100)[98]
    print(f"a page of {PAGE}: p50 {middle:.1f} ms, p99 {most:.1f} ms; all pages {whole_s:.2f} s")
    assert len(listed) == BOUND
    assert set(listed) == set(flood.admitted)

    kill(pid)
    begun = time.perf_counter()
    home.llorch("orchestrator", "start").must()
    print(f"ready again after {time.perf_counter() - begun:.2f} s")
    with api(home) as client:
        assert walk(client, status="queued")[0] == listed
        refused = client.post("/v2/tasks", json={"model": "tiny-chat", "prompt": "x"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "QUEUE_FULL")
        metrics = client.get("/metrics").text
    assert f"orchd_queue_depth {float(BOUND)}" in metrics
