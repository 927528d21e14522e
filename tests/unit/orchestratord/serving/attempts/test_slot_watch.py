"""A worker is asked gently whether it has let go, and the machine is told exactly once."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from orchestrator_core.ids import PoolId, WorkerId
from orchestrator_core.scheduler.events import Event, SlotsSeenIdle
from orchestrator_core.testing.facts import job_id
from orchestrator_core.testing.reports import worker_report
from orchestratord.runtime.workerbook import External, WorkerAddress, WorkerBook
from orchestratord.serving.attempts.slot_watch import Cut, SlotWatch, WatchPace
from orchestratord.upstream.request import Address
from orchestratord.upstream.road import DIRECT, Road, RoadDownError
from support.fake_engine import FakeEngine
from support.waiting import until

QUICK = WatchPace(first_look_s=0.001, period_s=0.02, answer_s=1.0, patience_s=5.0)
HASTY = WatchPace(first_look_s=0.001, period_s=0.01, answer_s=0.1, patience_s=0.05)
POOL = PoolId("home")


class FarRoad:
    """A road to another host, which a test takes down; each session of its pool has one."""

    name = "ssh"

    def __init__(self) -> None:
        self.is_down = False
        self.asked = 0

    async def connect(self, make: Callable[[], asyncio.Protocol], address: Address) -> None:
        self.asked += 1
        if self.is_down:
            raise RoadDownError("the ssh connection to mac is down")
        await DIRECT.connect(make, address)


class Site:
    """One engine, one watch, and what the machine was told."""

    def __init__(self, engine: FakeEngine, tasks: asyncio.TaskGroup) -> None:
        self.engine = engine
        self.tasks = tasks
        self.road: Road = DIRECT
        self.book = WorkerBook(lambda pool, worker: self.road)
        self.told: list[Event] = []
        self.held = 0
        self.announce()
        self.watch = self.watching(QUICK)

    def announce(self, number: int = 1) -> WorkerAddress:
        report = worker_report(f"wrk_{number:026d}", port=self.engine.port)
        self.book.replace(POOL, [report])
        found = self.book.find(POOL, WorkerId(report.id))
        assert found is not None
        self.worker = found
        return found

    def watching(self, pace: WatchPace) -> SlotWatch:
        return SlotWatch(
            book=self.book,
            tasks=self.tasks,
            now=lambda: 7.0,
            post=self.told.append,
            held=lambda _: self.held,
            pace=pace,
        )

    def cut(self, number: int = 1, slots: int = 1) -> Cut:
        cut = Cut(job_id=job_id(number), attempt=1, worker=self.worker, slots=slots)
        self.watch.expect(cut)
        return cut

    def idle(self) -> list[str]:
        assert all(isinstance(fact, SlotsSeenIdle) for fact in self.told)
        return [fact.job_id for fact in self.told if isinstance(fact, SlotsSeenIdle)]


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with FakeEngine.listening() as engine, asyncio.TaskGroup() as tasks:
        site = Site(engine, tasks)
        yield site
        site.watch.close()


async def test_an_idle_worker_frees_the_slots_at_the_first_look(site: Site) -> None:
    cut = site.cut()
    assert site.told == []
    await until(lambda: site.told, what="the fact")
    told = SlotsSeenIdle(at=7.0, job_id=cut.job_id, attempt=1, worker_id=cut.worker.worker_id)
    assert site.told == [told]
    assert (site.engine.slots_asked, len(site.watch), site.watch.unconfirmed) == (1, 0, 0)


async def test_a_worker_that_still_computes_keeps_its_slots(site: Site) -> None:
    site.engine.stubborn = 1
    site.cut()
    await until(lambda: site.engine.slots_asked >= 3, what="three looks")
    assert site.told == []
    site.engine.stubborn = 0
    await until(lambda: site.told, what="the fact")
    assert site.watch.unconfirmed == 0


async def test_attempts_that_go_on_do_not_pass_for_the_cut_one(site: Site) -> None:
    site.engine.stubborn, site.held = 2, 2
    site.cut()
    await until(lambda: site.told, what="the fact")
    site.engine.stubborn = 3
    site.cut(2)
    asked = site.engine.slots_asked
    await until(lambda: site.engine.slots_asked >= asked + 3, what="three looks")
    assert len(site.told) == 1


async def test_of_several_cuts_as_many_are_freed_as_the_worker_has_let_go(site: Site) -> None:
    site.engine.stubborn = 1
    for number in (1, 2, 3):
        site.cut(number)
    await until(lambda: len(site.told) == 2, what="two facts")
    assert len(site.watch._watches) == 1
    site.engine.stubborn = 0
    await until(lambda: len(site.told) == 3, what="the third fact")
    assert sorted(site.idle()) == sorted(job_id(number) for number in (1, 2, 3))


async def test_an_answer_of_several_slots_is_over_when_all_of_them_are(site: Site) -> None:
    site.engine.stubborn = 2
    site.cut(slots=4)
    await until(lambda: site.engine.slots_asked >= 2, what="two looks")
    assert site.told == []
    site.engine.stubborn = 0
    await until(lambda: site.told, what="the fact")


async def test_a_worker_is_never_asked_in_quick_succession(site: Site) -> None:
    site.watch = site.watching(WatchPace(first_look_s=0.001, period_s=60.0))
    site.cut()
    await until(lambda: site.told, what="the fact")
    site.cut(2)
    for _ in range(50):
        await asyncio.sleep(0)
    assert (site.engine.slots_asked, len(site.watch)) == (1, 1)


async def test_a_worker_that_is_gone_holds_nothing(site: Site) -> None:
    await site.engine.stop_listening()
    site.cut()
    await until(lambda: site.told, what="the fact")
    assert site.watch.unconfirmed == 0


@pytest.mark.parametrize("gone", [True, False])
async def test_a_worker_that_was_replaced_is_not_asked_for_the_old_one(
    site: Site, gone: bool
) -> None:
    site.engine.stubborn = 1
    site.cut()
    async with FakeEngine.listening() as other:
        other.stubborn = 1
        site.book.replace(
            POOL, [] if gone else [worker_report(site.worker.worker_id, port=other.port)]
        )
        await until(lambda: site.told, what="the fact")
        assert other.slots_asked == 0


@pytest.mark.parametrize("status", [404, 501])
async def test_a_worker_that_never_tells_is_not_waited_for(site: Site, status: int) -> None:
    site.engine.slots_status = status
    site.cut()
    await until(lambda: site.told, what="the fact")
    assert (site.engine.slots_asked, site.watch.unconfirmed) == (1, 1)


async def test_patience_ends_and_is_counted(site: Site) -> None:
    site.watch = site.watching(HASTY)
    site.engine.stubborn = 1
    site.cut()
    site.cut(2)
    await until(lambda: len(site.told) == 2, what="both facts")
    assert site.watch.unconfirmed == 1
    assert len(set(site.idle())) == 2


async def test_an_engine_that_is_not_ours_is_idle_at_once(site: Site) -> None:
    outside = External(base_path="", model="m", cold_s=1.0)
    worker = WorkerAddress(
        worker_id=site.worker.worker_id,
        name="w",
        pool_id=POOL,
        host="127.0.0.1",
        port=1,
        model="m",
        ctx=None,
        external=outside,
    )
    site.watch.expect(Cut(job_id=job_id(1), attempt=1, worker=worker))
    assert len(site.told) == 1
    assert site.engine.slots_asked == 0


async def test_a_daemon_that_stops_asks_nobody_any_more(site: Site) -> None:
    site.engine.stubborn = 1
    site.cut()
    await until(lambda: site.engine.slots_asked, what="the first look")
    site.watch.close()
    await until(lambda: not site.watch._watches, what="the end of the watch")
    assert (site.told, len(site.watch)) == ([], 0)


async def test_a_worker_whose_host_is_cut_off_keeps_its_slots_until_it_can_be_asked(
    site: Site,
) -> None:
    site.road = road = FarRoad()
    site.announce()
    site.watch = site.watching(WatchPace(first_look_s=0.001, period_s=0.01, patience_s=0.0))
    road.is_down, site.engine.stubborn = True, 1
    site.cut()
    await until(lambda: road.asked >= 3, what="three looks")
    assert site.told == []
    road.is_down = False
    await until(lambda: site.engine.slots_asked >= 3, what="three looks after the cut")
    assert site.told == []
    site.engine.stubborn = 0
    await until(lambda: site.told, what="the fact")
    assert site.watch.unconfirmed == 0


async def test_a_host_that_stays_away_holds_no_slots_for_ever(site: Site) -> None:
    site.road = road = FarRoad()
    site.announce()
    site.watch = site.watching(WatchPace(first_look_s=0.001, period_s=0.01, away_s=0.05))
    road.is_down = True
    site.cut()
    await until(lambda: site.told, what="the fact")
    assert (site.watch.unconfirmed, len(site.watch)) == (1, 0)


async def test_a_worker_is_asked_by_the_road_of_the_newest_session(site: Site) -> None:
    site.road = old = FarRoad()
    site.announce()
    old.is_down = True
    site.cut()
    await until(lambda: old.asked, what="a look")
    site.road = FarRoad()
    site.announce()
    await until(lambda: site.told, what="the fact")
    assert site.road.asked == 1
