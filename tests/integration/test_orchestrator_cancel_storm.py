"""Hundreds of requests are cancelled at any moment from any side: each ends once, no slot is lost."""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field

import pytest

from orchestrator_core.scheduler.commands import CancelAttempt
from orchestrator_core.scheduler.events import AttemptBroken, Event, SlotsSeenIdle
from orchestratord.serving.attempts.slot_watch import WatchPace
from support.fake_engine import EngineCall, FakeEngine, progress
from support.orchestrator import Orchestrator, chat_body, nobody_waits, ready_worker
from support.raw_clients import RawClient
from support.waiting import until

REQUESTS = 300
AT_ONCE = 16
SLOTS = 8
KINDS = ("stream", "plain", "durable")
WAYS = ("end", "gone", "DELETE", "POST", "DELETE twice", "DELETE and gone")
_TERMINAL = (b"event: end", b"event: error")

Attempt = tuple[str, int]


@dataclass
class Ledger:
    """What was ordered to be cut, and what was said of its slots."""

    cuts: Counter[Attempt] = field(default_factory=Counter[Attempt])
    idle: Counter[Attempt] = field(default_factory=Counter[Attempt])

    def listen(self, site: Orchestrator, monkeypatch: pytest.MonkeyPatch) -> None:
        pumps, loop = site.parts.pumps, site.parts.loop
        cancel, post = pumps.cancel, loop.post

        def cancelled(command: CancelAttempt) -> None:
            self.cuts[command.job_id, command.attempt] += 1
            cancel(command)

        def posted(event: Event) -> None:
            match event:
                case AttemptBroken(computing=True):
                    self.cuts[event.job_id, event.attempt] += 1
                case SlotsSeenIdle():
                    self.idle[event.job_id, event.attempt] += 1
                case _:
                    pass
            post(event)

        monkeypatch.setattr(pumps, "cancel", cancelled)
        monkeypatch.setattr(loop, "post", posted)


class Storm:
    """Requests of every kind, each given up at a moment of its own."""

    def __init__(self, site: Orchestrator, engine: FakeEngine, seed: int) -> None:
        self.site = site
        self.engine = engine
        self.dice = random.Random(seed)
        self.durable: list[str] = []
        self.refused: list[str] = []

    async def pause(self) -> None:
        """Nothing, some turns of the loop, or some milliseconds."""
        draw = self.dice.random()
        if draw < 0.4:
            for _ in range(self.dice.randrange(12)):
                await asyncio.sleep(0)
        else:
            over = asyncio.Event()
            asyncio.get_running_loop().call_later(draw * 0.02, over.set)
            await over.wait()

    async def answer_all(self) -> None:
        """The engine takes its time at every step."""
        async with asyncio.TaskGroup() as answers:
            while True:
                answers.create_task(self.answer(await self.engine.next_call()))

    async def answer(self, call: EngineCall) -> None:
        await self.pause()
        await call.open()
        await call.send(progress())
        for _ in range(self.dice.randrange(6)):
            await self.pause()
            if not call.computes:
                return
            await call.say("word")
        await call.end()

    async def request(self) -> None:
        kind, way = self.dice.choice(KINDS), self.dice.choice(WAYS)
        client, job_id = await self.ask(kind)
        try:
            if way != "end":
                await self.give_up(client, job_id, way)
            if way not in ("gone", "DELETE and gone"):
                await client.rest()
        finally:
            client.leave()

    async def ask(self, kind: str) -> tuple[RawClient, str]:
        site = self.site
        if kind == "durable":
            job_id = await site.submit(cancel_on_disconnect=self.dice.random() < 0.8)
            self.durable.append(job_id)
            path = f"/v2/tasks/{job_id}/events"
            return await RawClient.ask(site.url, site.key, "GET", path), job_id
        body = chat_body(stream=kind == "stream")
        client = await RawClient.ask(site.url, site.key, "POST", "/v1/chat/completions", body)
        await self.pause()
        # Perhaps somebody else's: whoever cancels may be a third.
        calls = [job.id for job in site.parts.jobs if job.id not in self.durable]
        return client, str(self.dice.choice(calls)) if calls else ""

    async def give_up(self, client: RawClient, job_id: str, way: str) -> None:
        await self.pause()
        if way == "gone" or not job_id:
            client.leave()
            return
        path = f"/v2/tasks/{job_id}"
        if way == "POST":
            asks = [self.site.client.post(f"{path}/cancel")]
        else:
            asks = [self.site.client.delete(path) for _ in range(way.count("twice") + 1)]
        going = [asyncio.ensure_future(ask) for ask in asks]
        if way == "DELETE and gone":
            await self.pause()
            client.leave()
        for reply in await asyncio.gather(*going):
            if reply.status_code != 200 or not reply.json()["ended_at"]:
                self.refused.append(reply.text)


@pytest.fixture
async def wide_site(site: Orchestrator, engine: FakeEngine) -> Orchestrator:
    report = ready_worker(engine.port)
    spec = report.spec.model_copy(update={"parallel": SLOTS})
    await site.beat(report.model_copy(update={"spec": spec, "slots_total": SLOTS}))
    # The engine answers at once, and may be asked as often.
    site.parts.pumps.watch._pace = WatchPace(first_look_s=0.001, period_s=0.005)
    return site


async def test_whatever_is_cancelled_ends_once_and_no_slot_is_lost(
    wide_site: Orchestrator, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, ledger = wide_site, Ledger()
    ledger.listen(site, monkeypatch)
    storm, room = Storm(site, engine, seed=5), asyncio.Semaphore(AT_ONCE)
    answering = asyncio.create_task(storm.answer_all())

    async def one() -> None:
        async with room:
            await storm.request()

    try:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(REQUESTS):
                tasks.create_task(one())
        await until(lambda: nobody_waits(site), what="an empty orchestrator")
        await until(lambda: not len(site.parts.pumps.watch), what="idle slots")
    finally:
        answering.cancel()
        await asyncio.gather(answering, return_exceptions=True)
    assert storm.refused == []
    assert ledger.idle == ledger.cuts
    assert set(ledger.cuts.values()) == {1}
    ((_, slots),) = site.parts.loop.machine.state.slots.items()
    assert (slots.holds, slots.lingering, slots.used) == ({}, set(), 0)
    assert (len(site.parts.ledger), site.parts.ledger.size_bytes) == (0, 0)
    assert len(site.parts.pumps) == len(site.parts.readers) == 0
    assert await site.metric("orchd_cancel_unconfirmed_total") == 0
    for job_id in storm.durable:
        replay = await site.replay(job_id)
        assert sum(map(replay.count, _TERMINAL)) == 1, replay
