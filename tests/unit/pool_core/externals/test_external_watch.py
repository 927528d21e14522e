"""Engines of somebody else, watched over real sockets."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator_core.contracts.pool import Owner, WorkerReport, WorkerStatus
from orchestrator_core.contracts.tasks import TaskKind
from orchestrator_core.errors import Code
from orchestrator_core.testing.clocks import FakeClock
from pool_core.externals import asking
from pool_core.externals.life import Pace
from pool_core.externals.settings import ExternalEngine
from pool_core.externals.watch import Externals
from support.openai_server import OpenAiServer, make_certificate
from support.waiting import until

READY, FAILED, STARTING = WorkerStatus.READY, WorkerStatus.FAILED, WorkerStatus.STARTING
QUICK = Pace(healthy_s=0.02, first_s=0.01, longest_s=0.02)


class Watch:
    """A watch with everything that changed in it."""

    def __init__(self, *engines: ExternalEngine, clock: FakeClock | None = None) -> None:
        self.clock = clock or FakeClock()
        self.changes = 0
        self.externals = Externals(
            engines,
            instance="cafe",
            clock=self.clock,
            roll=lambda: 1.0,
            on_change=self._changed,
            pace=QUICK,
        )

    def _changed(self) -> None:
        self.changes += 1

    def report(self, model: str = "m") -> WorkerReport | None:
        found = (it for it in self.externals.reports() if it.model == model)
        return next(found, None)

    async def until_is(
        self, status: WorkerStatus, model: str = "m", code: Code | None = None
    ) -> WorkerReport:
        def look() -> WorkerReport | None:
            found = self.report(model)
            return found if found and (found.status, found.error_code) == (status, code) else None

        found = await until(look, what=f"{model} {status} {code}")
        assert found is not None
        return found


@contextlib.asynccontextmanager
async def watching(watch: Watch) -> AsyncIterator[Watch]:
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(watch.externals.run())
        try:
            yield watch
        finally:
            task.cancel()


def engine(server: OpenAiServer, name: str = "vllm", **more: Any) -> ExternalEngine:
    return ExternalEngine.model_validate({"name": name, "url": server.url, **more})


async def test_a_running_server_is_reported_as_a_worker() -> None:
    with OpenAiServer(models=("org/m",)) as server:
        async with watching(Watch(engine(server, models={"m": "org/m"}, max_concurrency=3))) as it:
            assert it.report() is not None
            report = await it.until_is(READY)
            await until(lambda: len(server.manners.asked) > 2, what="further looks")
            assert it.changes == 1
    assert (report.name, report.owner) == ("worker-openai-vllm", Owner.OPERATOR)
    assert (report.pid, report.port, report.url) == (None, server.port, f"{server.url}/v1")
    assert (report.slots_total, report.task, report.key) == (3, TaskKind.GENERATE, None)
    spec = report.spec
    assert (spec.engine, spec.ctx, spec.parallel) == ("openai", None, 3)
    assert (spec.model.model_id, spec.model.source, spec.model.file) == ("m", "external", "org/m")
    assert report.ready_at is not None
    assert {asked.path for asked in server.manners.asked} == {"/v1/models"}


async def test_all_that_is_listed_is_offered_when_nothing_is_named() -> None:
    with OpenAiServer(models=("a", "b")) as server:
        async with watching(Watch(engine(server))) as it:
            await it.until_is(READY, "a")
            server.manners.models = ("b", "c")
            await it.until_is(READY, "c")
            await until(lambda: it.report("a") is None, what="the end of a")
    assert [report.model for report in it.externals.reports()] == ["b", "c"]


async def test_a_server_that_goes_is_failed_and_comes_back_as_another() -> None:
    server = OpenAiServer(models=("m",))
    server.open()
    async with watching(Watch(engine(server, models=["m"]))) as it:
        first = await it.until_is(READY)
        server.close()
        down = await it.until_is(FAILED, code=Code.UNREACHABLE)
        assert down.error_message is not None
        assert "cannot be reached" in down.error_message
        assert list(it.externals.faults()) == ["vllm"]
        server.open()
        again = await it.until_is(READY)
        assert (again.id, again.incarnation) == (first.id, first.incarnation + 1)
        assert it.externals.faults() == {}
    server.close()


async def test_a_server_that_is_not_there_yet_is_waited_for() -> None:
    server = OpenAiServer(models=("m",))
    server.open()
    server.close()
    async with watching(Watch(engine(server))) as it:
        await until(it.externals.faults, what="a fault")
        assert it.externals.reports() == []
        server.open()
        await it.until_is(READY)
    server.close()


async def test_a_key_is_sent_and_may_be_changed_while_we_run(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("wrong\n")
    file.chmod(0o600)
    with OpenAiServer(models=("m",), key="right") as server:
        async with watching(Watch(engine(server, models=["m"], key_file=str(file)))) as it:
            bad = await it.until_is(FAILED, code=Code.BAD_KEY)
            assert "refuses the key" in str(bad.error_message)
            file.write_text("right\n")
            good = await it.until_is(READY)
            assert good.key is not None
            assert good.key.get_secret_value() == "right"
            file.chmod(0o644)
            open_file = await it.until_is(FAILED, code=Code.CONFIG_INVALID)
            assert "chmod 600" in str(open_file.error_message)
    assert "right" not in repr(good)


async def test_a_server_that_wants_a_key_says_which_setting_is_missing() -> None:
    with OpenAiServer(models=("m",), key="right") as server:
        async with watching(Watch(engine(server, models=["m"]))) as it:
            report = await it.until_is(FAILED, code=Code.BAD_KEY)
    assert "set key_file" in str(report.error_message)


async def test_a_server_without_a_list_proves_itself_by_one_token_and_only_once() -> None:
    with OpenAiServer(models=("m", "n"), keeps_list=False) as server:
        named = engine(server, models=["m", "n", "gone"])
        async with watching(Watch(named)) as it:
            await it.until_is(READY, "m")
            await it.until_is(READY, "n")
            await it.until_is(FAILED, "gone", Code.ENGINE_ERROR)
            await until(lambda: len(server.manners.asked) > 9, what="further looks")
    asked = [chat.body["model"] for chat in server.chats]
    assert (asked.count("m"), asked.count("n")) == (1, 1)
    assert server.chats[0].body["max_tokens"] == 1


async def test_a_server_without_a_list_must_have_its_models_named() -> None:
    with OpenAiServer(keeps_list=False) as server:
        async with watching(Watch(engine(server))) as it:
            faults = await until(it.externals.faults, what="a fault")
    assert "name them in pool.toml" in faults["vllm"]


ODD: list[tuple[Callable[[OpenAiServer], None], str]] = [
    (lambda server: setattr(server.manners, "list_status", 500), "answers 500"),
    (lambda server: setattr(server.manners, "list_status", 302), "answers 302"),
    (lambda server: setattr(server.manners, "list_body", b"<html>"), "no list of models"),
    (lambda server: setattr(server.manners, "list_body", b'{"data": 3}'), "no list of models"),
    (lambda server: setattr(server.manners, "list_body", b"[" * 100_000), "no list of models"),
    (lambda server: setattr(server.manners, "list_body", b"x" * 5_000_000), "more than is read"),
    (lambda server: setattr(server.manners, "list_body", b'{"data": [1, {}]}'), "lists no model"),
]


@pytest.mark.parametrize(("spoil", "words"), ODD, ids=[words for _, words in ODD])
async def test_an_odd_answer_is_a_reason_and_no_crash(
    spoil: Callable[[OpenAiServer], None], words: str
) -> None:
    with OpenAiServer() as server:
        spoil(server)
        async with watching(Watch(engine(server))) as it:
            faults = await until(it.externals.faults, what="a fault")
            assert words in faults["vllm"]
            spoilt = server.manners
            spoilt.list_status, spoilt.list_body = 200, None
            await it.until_is(READY, "org/big-model")


async def test_two_engines_may_serve_one_model_under_names_of_their_own() -> None:
    with OpenAiServer(models=("m", "n")) as server:
        engines = (engine(server, "a"), engine(server, "a-2"))
        async with watching(Watch(*engines)) as it:
            await until(lambda: len(it.externals.reports()) == 4, what="both")
            reports = it.externals.reports()
    assert len({report.id for report in reports}) == 4
    assert len({report.name for report in reports}) == 4


async def test_the_stop_of_such_a_worker_is_refused_and_of_no_other() -> None:
    with OpenAiServer(models=("m",)) as server:
        async with watching(Watch(engine(server, models=["m"]))) as it:
            report = await it.until_is(READY)
    for name in (report.id, report.name):
        refusal = it.externals.stop_refusal(name)
        assert refusal is not None
        assert refusal.message == (
            "worker-openai-vllm is run by somebody else: take it out of pool.toml"
        )
    assert it.externals.stop_refusal("worker-cpu-0") is None


async def test_without_an_engine_there_is_nothing_to_watch() -> None:
    await Watch().externals.run()


async def test_a_certificate_that_nobody_trusts_is_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = make_certificate(tmp_path)
    asking._trusted.cache_clear()
    with OpenAiServer(models=("m",), certificate=certificate) as server:
        async with watching(Watch(engine(server, models=["m"]))) as it:
            report = await it.until_is(FAILED, code=Code.UNREACHABLE)
            assert "CERTIFICATE_VERIFY_FAILED" in str(report.error_message)
            asking._trusted.cache_clear()
            monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
            await it.until_is(READY)
    asking._trusted.cache_clear()
