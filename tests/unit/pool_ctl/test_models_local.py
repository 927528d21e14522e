"""Acts on models reach whoever speaks for the host, and a download outlives its daemon."""

import json
import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from orchestrator_core.config.layout import Layout
from orchestrator_core.console.endings import Pace
from orchestrator_core.contracts.downloads import DownloadOrder, DownloadReport, DownloadStage
from orchestrator_core.contracts.model_info import InfoOrder
from orchestrator_core.contracts.models import (
    CleanUpOrder,
    DeleteOrder,
    ImportOrder,
    StoredModel,
    VerifyOrder,
)
from orchestrator_core.errors import Code, LlorchError
from orchestrator_core.platforms import files, runfiles
from pool_ctl.pools.models.cancel import Cancellation
from pool_ctl.pools.models.local import LocalModels
from pool_ctl.pools.models.port import ModelsPort
from pool_ctl.settings import CliSettings
from support.fake_models import FakeHostModels, make_stored
from support.run_files import announce

ORDER = DownloadOrder(model="tiny")


class Daemon:
    """A daemon of this test: it has a run file and tells of one download what the test lets it."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.calls: list[str] = []
        self.asked_to_cancel = threading.Event()
        self.tell: Callable[[Callable[[str, DownloadReport], None]], None] = self.tell_all
        daemon = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                daemon.answer(self)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", 0)))
                daemon.answer(self)

            def do_DELETE(self) -> None:
                daemon.answer(self)
                daemon.asked_to_cancel.set()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Stay silent."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = False
        self.thread = threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.01}
        )
        self.thread.start()
        files.ensure_folder(layout.pool_folder)
        announce(self.layout, "pool-managerd", f"http://127.0.0.1:{self.server.server_port}")

    def answer(self, call: BaseHTTPRequestHandler) -> None:
        """Answer one call."""
        self.calls.append(f"{call.command} {call.path}")
        call.send_response(200)
        if call.path.endswith("/events"):
            call.send_header("content-type", "text/event-stream")
            call.end_headers()

            def send(kind: str, report: DownloadReport) -> None:
                text = f"event: {kind}\ndata: {report.model_dump_json()}\n\n"
                call.wfile.write(text.encode())
                call.wfile.flush()

            self.tell(send)
            return
        answers: dict[str, object] = {
            "/health": {"status": "ok"},
            "/models": {"items": [make_stored("theirs").model_dump(mode="json")]},
        }
        body = json.dumps(answers.get(call.path) or progress().model_dump(mode="json")).encode()
        call.send_header("content-length", str(len(body)))
        call.end_headers()
        call.wfile.write(body)

    def tell_all(self, send: Callable[[str, DownloadReport], None]) -> None:
        """The whole download."""
        send("progress", progress())
        result = make_stored("tiny")
        send("end", progress(stage=DownloadStage.DONE, result=result))

    def leave(self) -> None:
        """Take the run file away, as a daemon does that ends."""
        runfiles.remove(self.layout.run_folder, "pool-managerd", os.getpid())

    def end(self) -> None:
        """Stop listening."""
        self.leave()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def progress(**facts: object) -> DownloadReport:
    tree = {"id": "dl_1", "model": "tiny", "stage": DownloadStage.TRANSFERRING}
    return DownloadReport.model_validate({**tree, **facts})


class Clock:
    """Moves only when somebody waits."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def pause(self, seconds: float) -> None:
        """Let time pass."""
        self.now_s += seconds


@pytest.fixture
def settings(tmp_path: Path) -> CliSettings:
    env = {"LLORCH_HOME": str(tmp_path)}
    return CliSettings(env, Layout.from_env(env))


@pytest.fixture
def daemon(settings: CliSettings) -> Iterator[Daemon]:
    daemon = Daemon(settings.layout)
    yield daemon
    daemon.end()


@pytest.fixture
def ours() -> FakeHostModels:
    return FakeHostModels()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def models(
    settings: CliSettings, ours: FakeHostModels, clock: Clock, said: list[str]
) -> Iterator[LocalModels]:
    pace = Pace(lambda: clock.now_s, clock.pause)
    with LocalModels(settings, said.append, pace, ours) as models:
        yield models


def download(
    models: LocalModels, cancel: Cancellation, told: list[DownloadReport] | None = None
) -> StoredModel:
    tell = (told if told is not None else []).append
    return models.download(ORDER, tell=tell, cancel=cancel)


def test_without_a_daemon_every_act_is_ours(models: LocalModels, ours: FakeHostModels) -> None:
    cancel = Cancellation()

    def tell(what: str, done_bytes: int, total_bytes: int) -> None:
        """Hear nothing."""

    port: ModelsPort = models
    assert [it.id for it in port.models()] == ["tiny"]
    assert [it.id for it in port.catalog()] == ["tiny", "own"]
    assert port.downloads() == []
    orders: list[object] = [
        InfoOrder(model="tiny"),
        ORDER,
        VerifyOrder(),
        DeleteOrder(model="tiny"),
        CleanUpOrder(unused_s=1.0),
        ImportOrder(hub_cache=True),
    ]
    port.info(InfoOrder(model="tiny"))
    assert download(models, cancel).id == "tiny"
    port.verify(VerifyOrder(), tell=tell, cancel=cancel)
    port.delete(DeleteOrder(model="tiny"))
    port.clean_up(CleanUpOrder(unused_s=1.0))
    port.take_in(ImportOrder(hub_cache=True), tell=tell, cancel=cancel)
    assert ours.orders == orders
    assert port.usage().folder == "/s"


def test_a_running_daemon_brings_the_model(
    models: LocalModels, ours: FakeHostModels, daemon: Daemon
) -> None:
    told: list[DownloadReport] = []
    assert [it.id for it in models.models()] == ["theirs"]
    assert download(models, Cancellation(), told).id == "tiny"
    assert [it.stage for it in told] == ["transferring", "transferring", "done"]
    assert ours.orders == []


def test_a_download_that_its_daemon_left_goes_on_in_the_command(
    models: LocalModels, ours: FakeHostModels, daemon: Daemon, said: list[str]
) -> None:
    def be_told_to_end(send: Callable[[str, DownloadReport], None]) -> None:
        send("progress", progress())
        send("end", progress(stage=DownloadStage.FAILED, error_code="DRAINING", error_message="!"))
        daemon.leave()

    daemon.tell = be_told_to_end
    assert download(models, Cancellation()).id == "tiny"
    assert ours.orders == [ORDER]
    assert said == ["pool-managerd has ended: the download goes on without it"]


def test_a_download_goes_on_when_its_daemon_was_killed(
    models: LocalModels, ours: FakeHostModels, daemon: Daemon
) -> None:
    def die(send: Callable[[str, DownloadReport], None]) -> None:
        send("progress", progress())
        daemon.leave()
        # What listens is gone with the process: the next call is refused.
        daemon.server.socket.close()

    daemon.tell = die
    assert download(models, Cancellation()).id == "tiny"
    assert ours.orders == [ORDER]


def test_what_somebody_else_cancelled_at_the_daemon_is_cancelled(
    models: LocalModels, ours: FakeHostModels, daemon: Daemon
) -> None:
    def be_cancelled(send: Callable[[str, DownloadReport], None]) -> None:
        code = Code.CANCELLED.value
        send("end", progress(stage=DownloadStage.CANCELLED, error_code=code, error_message="no"))

    daemon.tell = be_cancelled
    with pytest.raises(LlorchError) as caught:
        download(models, Cancellation())
    assert caught.value.code is Code.CANCELLED
    assert ours.orders == []


def test_the_word_to_end_reaches_the_daemon_at_once(
    models: LocalModels, ours: FakeHostModels, daemon: Daemon
) -> None:
    cancel = Cancellation()

    def wait_to_be_cancelled(send: Callable[[str, DownloadReport], None]) -> None:
        send("progress", progress(done_bytes=1))
        assert daemon.asked_to_cancel.wait(10)
        send("end", progress(stage=DownloadStage.CANCELLED, error_code="CANCELLED"))

    daemon.tell = wait_to_be_cancelled
    asked = threading.Thread(target=cancel.set)

    def tell(report: DownloadReport) -> None:
        if report.done_bytes:
            asked.start()

    with pytest.raises(LlorchError) as caught:
        models.download(ORDER, tell=tell, cancel=cancel)
    asked.join()
    assert caught.value.code is Code.CANCELLED
    assert "DELETE /models/downloads/dl_1" in daemon.calls
    assert ours.orders == []


def test_the_reason_of_a_failed_download_is_the_daemons_own(
    models: LocalModels, ours: FakeHostModels, daemon: Daemon
) -> None:
    def fail(send: Callable[[str, DownloadReport], None]) -> None:
        send(
            "end",
            progress(
                stage=DownloadStage.FAILED,
                error_code="UNREACHABLE",
                error_message="the hub is not there",
            ),
        )

    daemon.tell = fail
    with pytest.raises(LlorchError, match="the hub is not there"):
        download(models, Cancellation())
    assert ours.orders == []


def test_deleting_waits_for_whoever_acts_on_workers(
    models: LocalModels, settings: CliSettings, ours: FakeHostModels, clock: Clock
) -> None:
    files.ensure_folder(settings.layout.pool_folder)
    other = files.FileLock(settings.layout.pool_lock)
    assert other.try_acquire()
    with pytest.raises(LlorchError, match="does not answer"):
        models.delete(DeleteOrder(model="tiny"))
    assert models.models() != []
    assert download(models, Cancellation()).id == "tiny"
    other.release()
    models.delete(DeleteOrder(model="tiny"))
    assert ours.orders == [ORDER, DeleteOrder(model="tiny")]
