"""What calls used reaches the store in groups; a store that takes nothing stops the daemon."""

import asyncio

from orchestrator_core.contracts.tasks import JobStatus, TaskKind
from orchestrator_core.errors import Code, HostError, LlorchError, Refusal
from orchestrator_core.testing.facts import job_id, key_id
from orchestratord.runtime.flusher import Flusher
from orchestratord.runtime.upkeep.usage_book import UsageBook
from orchestratord.store.memory import MemoryStore
from orchestratord.store.rows import UsageRow
from support.waiting import until


def row(number: int) -> UsageRow:
    return UsageRow(
        job_id=job_id(number),
        key_id=key_id(),
        model="tiny-chat",
        task=TaskKind.GENERATE,
        status=JobStatus.COMPLETED,
        created_at_ms=1,
        ended_at_ms=2,
    )


async def test_rows_reach_the_store_with_the_next_round_and_not_before() -> None:
    store, flusher = MemoryStore(), Flusher(0.001)
    book = UsageBook(store, flusher, on_failure=lambda problem: None)
    book.add(row(1))
    book.add(row(2))
    assert await store.usage(job_id(1)) is None
    for number in (1, 2):
        found = await until(lambda n=number: store.usage(job_id(n)), what="the usage row")
        assert found == row(number)


async def test_a_daemon_that_stops_writes_what_is_left() -> None:
    store, flusher = MemoryStore(), Flusher(1000.0)
    UsageBook(store, flusher, on_failure=lambda problem: None).add(row(1))
    flusher.flush()
    await asyncio.sleep(0)
    assert await store.usage(job_id(1)) == row(1)


async def test_a_store_that_takes_nothing_is_reported() -> None:
    problems: list[LlorchError] = []
    store, flusher = MemoryStore(), Flusher(1000.0)
    error = HostError(Refusal(Code.DISK_LOW, "full"))

    def refuse(*_: object) -> None:
        raise error

    store.post = refuse
    UsageBook(store, flusher, problems.append).add(row(1))
    flusher.flush()
    assert problems == [error]
