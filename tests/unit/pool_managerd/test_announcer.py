"""The pool's session with an orchestrator that is an app in this process."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import structlog

from orchestrator_core.clients.orchestrator import AsyncOrchestratorClient
from orchestrator_core.clock import SystemClock
from orchestrator_core.contracts.pool import ModelReport
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.idgen import IdSource
from pool_managerd.runtime.announcer import Announcer, Identity, Target
from pool_managerd.runtime.drain import DrainSwitch
from pool_managerd.runtime.keyring import Caller, Keyring
from pool_managerd.runtime.link import Pace
from support.pool_fakes import (
    SPEC,
    WORKER_ID,
    FakeDevices,
    FakeModels,
    FakeOrchestrator,
    FakeWorkers,
    make_worker,
)
from support.waiting import until

QUICK = Pace(first_s=0.01, longest_s=0.02, refused_key_s=0.02)


class Rig:
    """An announcer, everything around it, and what it counted."""

    def __init__(self, folder: Path, orchestrator: FakeOrchestrator) -> None:
        self.orchestrator = orchestrator
        self.workers = FakeWorkers()
        self.models = FakeModels()
        self.keyring = Keyring("operator-key")
        self.key_file = folder / "local-pool.key"
        self.key_file.write_text("pool-key\n")
        self.outcomes: list[str] = []
        self.url: str | None = "http://orchestrator"
        self.dialled: list[str] = []
        self.drain = DrainSwitch(folder / "drain.json", self.changed)
        self.announcer = Announcer(
            target=Target(lambda: self.url, self.key_file),
            identity=Identity(
                "attic", "http://127.0.0.1:9200", "1.2.3", ("embedded 1",), "what the port shows"
            ),
            workers=self.workers,
            devices=FakeDevices(),
            models=self.models,
            keyring=self.keyring,
            ids=IdSource.seeded(SystemClock(), 7),
            dial=self.dial,
            roll=lambda: 0.5,
            count=self.outcomes.append,
            pace=QUICK,
            drain=self.drain,
        )

    def changed(self) -> None:
        """What the daemon's desk does when the switch was turned."""
        self.announcer.poke()

    def dial(self, url: str, key: str) -> AsyncOrchestratorClient:
        """Reach the app in this process."""
        self.dialled.append(url)
        transport = httpx.ASGITransport(self.orchestrator)
        return AsyncOrchestratorClient(url, key, transport=transport)


@pytest.fixture
async def rig(tmp_path: Path) -> Rig:
    """An announcer that does not run yet."""
    return Rig(tmp_path, FakeOrchestrator())


@contextlib.asynccontextmanager
async def running(rig: Rig) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(rig.announcer.run())
        try:
            yield
        finally:
            task.cancel()


async def test_registers_with_everything_the_orchestrator_needs(rig: Rig) -> None:
    rig.workers.workers[WORKER_ID] = make_worker()
    async with running(rig):
        await until(lambda: rig.orchestrator.registers, what="a registration")
        word = rig.orchestrator.registers[0]
        assert word["pool_id"] == "attic"
        assert word["endpoint"] == "http://127.0.0.1:9200"
        assert word["engines"] == ["embedded 1"]
        assert word["certificate"] == "what the port shows"
        assert rig.keyring.identify(str(word["control_key"])) is Caller.ORCHESTRATOR
        assert [worker["key"] for worker in word["workers"]] == ["the-worker-key"]
        await until(lambda: rig.announcer.view.connected, what="the session")
        assert rig.announcer.view.session_id == word["session_id"]


async def test_follows_an_orchestrator_that_came_back_elsewhere(rig: Rig) -> None:
    async with running(rig):
        await until(lambda: rig.announcer.view.connected, what="the session")
        rig.url = "http://elsewhere"
        await until(lambda: len(rig.orchestrator.registers) == 2, what="a second registration")
    assert rig.dialled == ["http://orchestrator", "http://elsewhere"]


async def test_waits_for_an_orchestrator_that_does_not_run_yet(rig: Rig) -> None:
    rig.url = None
    async with running(rig):
        await until(lambda: "unreachable" in rig.outcomes, what="a vain look")
        assert rig.announcer.view.url is None
        rig.url = "http://orchestrator"
        await until(lambda: rig.announcer.view.connected, what="the session")


async def test_beats_count_up_and_each_reply_is_obeyed(rig: Rig) -> None:
    async with running(rig):
        await until(lambda: len(rig.orchestrator.beats) >= 3, what="three beats")
    assert [beat["seq"] for beat in rig.orchestrator.beats[:3]] == [1, 2, 3]
    revisions = [wanted.revision for wanted in rig.workers.wanted]
    assert revisions[:4] == [1, 2, 3, 4]
    assert rig.workers.sessions == 1


async def test_a_change_is_told_at_once_and_many_changes_are_one_beat(rig: Rig) -> None:
    rig.orchestrator.interval_s = 60
    async with running(rig):
        await until(lambda: rig.announcer.view.connected, what="the session")
        for _ in range(50):
            rig.announcer.poke()
        await until(lambda: rig.orchestrator.beats, what="the beat of the change")
        rig.announcer.poke()
        await until(lambda: len(rig.orchestrator.beats) == 2, what="the beat of the next change")


async def test_a_new_model_is_told_with_one_beat_and_then_no_more(rig: Rig) -> None:
    async with running(rig):
        await until(lambda: rig.orchestrator.beats, what="a beat without news")
        assert rig.orchestrator.beats[0].get("models") is None
        rig.models.models.append(ModelReport(id="big", file="big.gguf", size_bytes=7))
        rig.announcer.poke()
        await until(lambda: news(rig), what="the beat with the news")
        beats = len(rig.orchestrator.beats)
        await until(lambda: len(rig.orchestrator.beats) > beats + 1, what="two beats more")
    assert [[model["id"] for model in models] for models in news(rig)] == [["tiny-chat", "big"]]


async def test_models_that_no_orchestrator_has_heard_of_are_told_again(rig: Rig) -> None:
    async with running(rig):
        await until(lambda: rig.orchestrator.beats, what="a beat without news")
        rig.orchestrator.refusals.append(Refusal(Code.DRAINING, "not now"))
        rig.models.models.clear()
        rig.announcer.poke()
        await until(lambda: news(rig), what="the beat with the news")
    assert rig.outcomes.count("unreachable") == 1
    assert news(rig) == [[]]


def news(rig: Rig) -> list[list[dict[str, object]]]:
    """The lists of models that beats brought."""
    told = [beat.get("models") for beat in rig.orchestrator.beats]
    return [models for models in told if models is not None]


async def test_waits_for_the_workers_of_an_earlier_daemon(rig: Rig) -> None:
    rig.workers.adopted.clear()
    async with running(rig):
        await asyncio.sleep(0)
        assert rig.outcomes == []
        rig.workers.workers[WORKER_ID] = make_worker()
        rig.workers.adopted.set()
        await until(lambda: rig.orchestrator.registers, what="a registration")
    assert len(rig.orchestrator.registers[0]["workers"]) == 1


async def test_a_forgotten_session_is_opened_anew_with_a_new_key(rig: Rig) -> None:
    async with running(rig):
        await until(lambda: rig.orchestrator.beats, what="a beat")
        rig.orchestrator.forget()
        await until(lambda: len(rig.orchestrator.registers) == 2, what="a second registration")
        await until(lambda: rig.announcer.view.connected, what="the session")
        first, second = rig.orchestrator.registers
        assert first["session_id"] < second["session_id"]
        await until(
            lambda: rig.keyring.identify(str(first["control_key"])) is None,
            what="the end of the old control key",
        )
        assert rig.keyring.identify(str(second["control_key"])) is Caller.ORCHESTRATOR
        assert rig.workers.sessions == 2
        seqs = [beat["seq"] for beat in rig.orchestrator.beats]
        await until(lambda: len(rig.orchestrator.beats) > len(seqs), what="a beat")
        assert rig.orchestrator.beats[len(seqs)]["seq"] == 1


async def test_an_outage_keeps_the_session(rig: Rig) -> None:
    async with running(rig):
        await until(lambda: rig.orchestrator.beats, what="a beat")
        rig.orchestrator.refusals += [Refusal(Code.INTERNAL, "down")] * 3
        await until(lambda: not rig.orchestrator.refusals, what="the outage")
        seen = len(rig.orchestrator.beats)
        await until(lambda: len(rig.orchestrator.beats) > seen, what="a beat after the outage")
    assert len(rig.orchestrator.registers) == 1
    assert rig.outcomes.count("unreachable") == 3


async def test_the_key_file_is_read_again_at_each_registration(rig: Rig) -> None:
    rig.key_file.write_text("old")
    async with running(rig):
        await until(lambda: rig.outcomes.count("key_refused") >= 2, what="two refusals")
        assert not rig.announcer.view.connected
        rig.key_file.write_text("pool-key")
        await until(lambda: rig.announcer.view.connected, what="the session")


async def test_waits_for_a_key_file_that_is_not_there_yet(rig: Rig) -> None:
    rig.key_file.unlink()
    async with running(rig):
        await until(lambda: "key_missing" in rig.outcomes, what="the missing file to be seen")
        rig.key_file.write_text("pool-key")
        await until(lambda: rig.announcer.view.connected, what="the session")


async def test_a_lasting_fault_is_told_once(rig: Rig) -> None:
    rig.key_file.write_text("old")
    with structlog.testing.capture_logs() as lines:
        async with running(rig):
            await until(lambda: rig.outcomes.count("key_refused") >= 4, what="four refusals")
    assert [line["event"] for line in lines] == ["orchestrator.key_refused"]


async def test_draining_is_told_at_once_and_in_every_registration(rig: Rig) -> None:
    rig.orchestrator.interval_s = 60
    async with running(rig):
        await until(lambda: rig.announcer.view.connected, what="the session")
        assert await rig.drain.drain() is None
        await until(lambda: rig.orchestrator.beats, what="the beat of the change")
        rig.orchestrator.forget()
        rig.announcer.poke()
        await until(lambda: len(rig.orchestrator.registers) == 2, what="a second registration")
    words = [*rig.orchestrator.registers, *rig.orchestrator.beats]
    assert [word["draining"] for word in words] == [False, True, True]


async def test_a_draining_pool_hands_on_no_start_but_every_stop(rig: Rig) -> None:
    kept, unknown = make_worker(), "wrk_01arz3ndektsv4rrffq69g5fax"
    rig.workers.workers[kept.id] = kept
    spec = SPEC.model_dump(mode="json")
    rig.orchestrator.wanted = [
        {"worker_id": worker_id, "generation": 1, "spec": spec} for worker_id in (kept.id, unknown)
    ]
    await rig.drain.drain()
    async with running(rig):
        await until(lambda: rig.workers.wanted, what="a wanted set")
        assert [worker.worker_id for worker in rig.workers.wanted[0].workers] == [kept.id]
        rig.orchestrator.wanted = []
        await until(lambda: not rig.workers.wanted[-1].workers, what="an empty wanted set")
        assert await rig.drain.resume() is None
        rig.orchestrator.wanted = [{"worker_id": unknown, "generation": 1, "spec": spec}]
        await until(lambda: rig.workers.wanted[-1].workers, what="the order that waited")
    assert rig.workers.wanted[-1].workers[0].worker_id == unknown
