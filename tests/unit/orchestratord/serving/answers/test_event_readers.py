"""Readers of events as the sweeper sees them: whoever does not read is dropped, at the end too."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from orchestrator_core.contracts.tasks import EventKind
from orchestrator_core.ids import JobId
from orchestrator_core.testing.clocks import FakeClock
from orchestrator_core.testing.facts import job_id, key_id
from orchestratord.runtime.jobs.live import LiveJobs
from orchestratord.serving.answers.event_readers import EventReader, EventReaders
from orchestratord.store.memory import MemoryStore
from orchestratord.store.rows import EventRow

KEEPALIVE_S, PATIENCE_S = 15.0, 60.0


class EndedStore(MemoryStore):
    """Knows nothing but the end of one job."""

    async def events_after(self, job_id: JobId, seq: int, limit: int) -> list[EventRow]:
        assert limit > 0
        return [EventRow(job_id, 1, EventKind.END, "{}")] if seq < 1 else []


@dataclass
class Client:
    """Takes what it is sent as soon as it is let; notes how each piece is told to go on."""

    lets: asyncio.Event = field(default_factory=asyncio.Event)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    told: list[tuple[bytes, bool]] = field(default_factory=list[tuple[bytes, bool]])

    async def __call__(self, data: bytes, *, more: bool) -> None:
        self.told.append((data, more))
        self.begun.set()
        await self.lets.wait()


@dataclass
class Site:
    clock: FakeClock
    readers: EventReaders
    reader: EventReader
    client: Client
    feeding: asyncio.Task[None]

    def sweep(self, advance_s: float) -> None:
        self.clock.advance(advance_s)
        self.readers.sweep()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    clock, client = FakeClock(), Client()
    readers = EventReaders(
        store=EndedStore(),
        jobs=LiveJobs(),
        clock=clock,
        keepalive_s=KEEPALIVE_S,
        slow_reader_s=PATIENCE_S,
    )
    reader = readers.open(job_id(1), key_id(), 0)
    assert isinstance(reader, EventReader)

    async def feed() -> None:
        async with asyncio.timeout(None) as reader.patience:
            await readers.feed(reader, client)

    feeding = asyncio.create_task(feed())
    await client.begun.wait()
    yield Site(clock, readers, reader, client, feeding)
    client.lets.set()
    await asyncio.gather(feeding, return_exceptions=True)
    readers.forget(reader)


async def test_the_end_of_the_body_goes_with_the_terminal_event(site: Site) -> None:
    site.client.lets.set()
    await site.feeding
    assert site.client.told == [(b"id: 1\nevent: end\ndata: {}\n\n", False)]


async def test_who_does_not_even_take_the_end_is_dropped_and_counted_once(site: Site) -> None:
    site.sweep(PATIENCE_S)
    assert (site.readers.dropped_slow, site.reader.dropped) == (0, False)
    site.sweep(1)
    site.sweep(1)
    with pytest.raises(TimeoutError):
        await site.feeding
    assert site.readers.dropped_slow == 1


async def test_a_reader_that_was_dropped_is_told_no_more(site: Site) -> None:
    reader = site.readers.open(job_id(1), key_id(), 0)
    assert isinstance(reader, EventReader)
    reader.done = True
    await site.readers.feed(reader, site.client)
    site.readers.forget(reader)
    assert len(site.client.told) == 1
