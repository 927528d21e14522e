"""What a thread sees of the workers while they come and go."""

import asyncio

from pool_managerd.runtime.live_workers import LiveWorkers
from support.pool_fakes import WORKER_ID, FakeWorkers, make_worker


async def test_a_thread_sees_a_worker_that_came_after_it_began() -> None:
    workers = FakeWorkers()
    live = LiveWorkers(workers.reports)
    assert await asyncio.to_thread(list, live) == []
    workers.workers[WORKER_ID] = make_worker()
    assert [it.id for it in await asyncio.to_thread(list, live)] == [WORKER_ID]
    assert await asyncio.to_thread(len, live) == 1
    assert (await asyncio.to_thread(live.__getitem__, 0)).id == WORKER_ID


async def test_the_loop_itself_is_answered_without_waiting() -> None:
    workers = FakeWorkers()
    live = LiveWorkers(workers.reports)
    workers.workers[WORKER_ID] = make_worker()
    assert [it.id for it in live] == [WORKER_ID]


def test_what_was_seen_last_stays_when_the_daemon_has_ended() -> None:
    workers = FakeWorkers()
    workers.workers[WORKER_ID] = make_worker()

    async def begin() -> LiveWorkers:
        return LiveWorkers(workers.reports)

    live = asyncio.run(begin())
    workers.workers.clear()
    assert [it.id for it in live] == [WORKER_ID]
