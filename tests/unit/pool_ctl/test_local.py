"""Each act reaches whoever speaks for the pool, also when a daemon ends or starts in between."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from orchestrator_core.config.layout import Layout
from orchestrator_core.console.endings import Pace
from orchestrator_core.contracts.pool import (
    DeviceReport,
    SpawnRequest,
    StopRequest,
    WorkerReport,
    WorkerStatus,
)
from orchestrator_core.errors import Code, Exit, LlorchError
from orchestrator_core.platforms import files, runfiles
from pool_ctl.pools.direct import DirectPool
from pool_ctl.pools.local import LocalPool
from pool_ctl.settings import CliSettings
from support.pool_fakes import SPEC, WORKER_ID, FakeDevices, make_worker
from support.run_files import announce

ORDER = SpawnRequest(spec=SPEC)

LIST_AND_SHOW_WHAT_IS_LOADED = """
import json, sys
from pool_ctl.main import cli
cli.main(["worker", "list"], prog_name="llorch-pool", standalone_mode=False)
print(json.dumps([name for name in sys.modules if name.startswith("pool_core")]), file=sys.stderr)
"""


class FakeDirect(DirectPool):
    """Acts on paper."""

    def __init__(self) -> None:
        self.acts: list[str] = []
        self.seen: WorkerReport | None = None

    def workers(self) -> list[WorkerReport]:
        """No worker."""
        self.acts.append("workers")
        return []

    def devices(self) -> list[DeviceReport]:
        """One processor."""
        self.acts.append("devices")
        return FakeDevices().reports()

    def spawn(self, order: SpawnRequest) -> WorkerReport:
        """Start a worker."""
        self.acts.append("spawn")
        return make_worker()

    def look(self, started: WorkerReport) -> WorkerReport | None:
        """What was prepared."""
        self.acts.append("look")
        return self.seen

    def settle(self, started: WorkerReport) -> WorkerReport | None:
        """It is ready."""
        self.acts.append("settle")
        return started.model_copy(update={"status": WorkerStatus.READY})

    def stop_all(self, grace_s: float) -> int:
        """Stop two."""
        self.acts.append("stop_all")
        return 2


class Daemon:
    """A daemon of this test: it holds the lock, has a run file, and answers as it is told."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.calls: list[str] = []
        self.breaks_at: str | None = None
        self.after_break: Callable[[], None] = lambda: None
        self.workers = [make_worker(status=WorkerStatus.READY)]
        files.ensure_folder(layout.pool_folder)
        self.lock = files.FileLock(layout.pool_lock)
        assert self.lock.try_acquire()
        daemon = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                daemon.answer(self)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", 0)))
                daemon.answer(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Stay silent."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.01}
        )
        self.thread.start()
        announce(self.layout, "pool-managerd", f"http://127.0.0.1:{self.server.server_port}")

    def answer(self, call: BaseHTTPRequestHandler) -> None:
        """Answer one call, or hang up on it."""
        self.calls.append(call.path)
        if call.path == self.breaks_at:
            self.breaks_at = None
            self.after_break()
            call.close_connection = True
            return
        shown = [worker.without_key().model_dump(mode="json") for worker in self.workers]
        worker = shown[0]
        answers: dict[str, object] = {
            "/health": {"status": "ok"},
            "/workers": {"items": shown},
            "/devices": {"items": []},
            "/workers/spawn": worker,
        }
        body = json.dumps(answers.get(call.path, worker)).encode()
        call.send_response(200)
        call.send_header("content-length", str(len(body)))
        call.end_headers()
        call.wfile.write(body)

    def hang_up(self) -> None:
        """Stop listening; the lock and the run file stay."""
        if self.thread.is_alive():
            self.server.shutdown()
            self.thread.join()
            self.server.server_close()

    def leave(self) -> None:
        """Let go of everything, as the end of a process does."""
        self.lock.release()
        runfiles.remove(self.layout.run_folder, "pool-managerd", os.getpid())

    def end(self) -> None:
        """End for good."""
        self.hang_up()
        self.leave()


class Clock:
    """Moves only when somebody waits."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.on_pause: Callable[[], None] = lambda: None

    def pause(self, seconds: float) -> None:
        """Let time pass."""
        self.now_s += seconds
        self.on_pause()


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
def clock() -> Clock:
    return Clock()


@pytest.fixture
def direct() -> FakeDirect:
    return FakeDirect()


@pytest.fixture
def pool(settings: CliSettings, clock: Clock, direct: FakeDirect) -> Iterator[LocalPool]:
    pace = Pace(lambda: clock.now_s, clock.pause)
    with LocalPool(settings, print, pace, direct) as pool:
        yield pool


def test_without_a_daemon_the_command_acts_itself(pool: LocalPool, direct: FakeDirect) -> None:
    pool.spawn(ORDER)
    assert pool.workers() == []
    assert direct.acts == ["spawn", "workers"]
    assert pool.daemon_url is None


def test_a_running_daemon_is_asked(pool: LocalPool, direct: FakeDirect, daemon: Daemon) -> None:
    assert [it.name for it in pool.workers()] == ["worker-cpu-0"]
    assert pool.stop("worker-cpu-0", StopRequest()).name == "worker-cpu-0"
    assert pool.devices() == []
    assert direct.acts == []
    assert pool.daemon_url == f"http://127.0.0.1:{daemon.server.server_port}"


@pytest.mark.usefixtures("daemon")
def test_a_command_that_asks_a_daemon_loads_nothing_of_the_host(settings: CliSettings) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIST_AND_SHOW_WHAT_IS_LOADED],
        env={**os.environ, **settings.env},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "worker-cpu-0" in done.stdout
    assert json.loads(done.stderr) == []


def test_a_daemon_that_died_before_it_was_asked_leaves_the_act_to_the_command(
    pool: LocalPool, direct: FakeDirect, daemon: Daemon, clock: Clock
) -> None:
    daemon.hang_up()
    clock.on_pause = daemon.leave
    pool.spawn(ORDER)
    assert direct.acts == ["spawn"]


def test_a_daemon_that_died_between_two_calls_leaves_the_next_to_the_command(
    pool: LocalPool, direct: FakeDirect, daemon: Daemon
) -> None:
    pool.workers()
    daemon.end()
    pool.workers()
    assert direct.acts == ["workers"]


def test_a_daemon_that_nobody_reaches_is_named_and_not_waited_for_for_ever(
    pool: LocalPool, direct: FakeDirect, daemon: Daemon, clock: Clock
) -> None:
    daemon.hang_up()
    with pytest.raises(LlorchError, match=rf"\(pid {os.getpid()}\) runs but does not answer") as it:
        pool.workers()
    assert it.value.refusal.outcome.exit_code is Exit.UNREACHABLE
    assert clock.now_s < 3
    assert direct.acts == []


def test_an_order_that_broke_off_is_not_repeated_and_says_what_may_have_happened(
    pool: LocalPool, direct: FakeDirect, daemon: Daemon
) -> None:
    daemon.breaks_at, daemon.after_break = "/workers/spawn", daemon.leave
    with pytest.raises(LlorchError, match="llorch-pool worker list shows it") as caught:
        pool.spawn(ORDER)
    assert caught.value.code is Code.UNREACHABLE
    assert "asked to start a worker" in caught.value.refusal.message
    assert direct.acts == []
    assert daemon.calls.count("/workers/spawn") == 1


def test_a_question_that_broke_off_is_asked_again(
    pool: LocalPool, direct: FakeDirect, daemon: Daemon
) -> None:
    daemon.breaks_at, daemon.after_break = "/workers", daemon.leave
    assert pool.workers() == []
    assert direct.acts == ["workers"]


def test_a_daemon_that_starts_in_between_takes_the_next_act(
    pool: LocalPool, settings: CliSettings, direct: FakeDirect
) -> None:
    pool.spawn(ORDER)
    daemon = Daemon(settings.layout)
    try:
        assert [it.name for it in pool.workers()] == ["worker-cpu-0"]
    finally:
        daemon.end()
    assert direct.acts == ["spawn"]


def test_looking_at_a_starting_worker_takes_no_lock_until_there_is_news(
    pool: LocalPool, settings: CliSettings, direct: FakeDirect
) -> None:
    started = make_worker()
    direct.seen = started
    other = files.FileLock(settings.layout.pool_lock)
    files.ensure_folder(settings.layout.pool_folder)
    assert other.try_acquire()
    assert pool.look(started) == started
    assert pool.devices() != []
    other.release()
    direct.seen = None
    news = pool.look(started)
    assert news is not None
    assert news.status is WorkerStatus.READY
    assert direct.acts == ["look", "devices", "look", "settle"]


def test_stopping_all_goes_to_whoever_speaks_for_the_pool(
    pool: LocalPool, direct: FakeDirect, settings: CliSettings
) -> None:
    assert pool.stop_all(1.0) == 2
    daemon = Daemon(settings.layout)
    try:
        assert pool.stop_all(1.0) == 1
    finally:
        daemon.end()
    assert direct.acts == ["stop_all"]
    assert any(call.endswith("/stop") for call in daemon.calls)


def test_a_worker_that_may_not_be_stopped_does_not_keep_the_others_running(
    pool: LocalPool, daemon: Daemon
) -> None:
    engine = SPEC.model_copy(update={"engine": "openai"})
    daemon.workers = [
        make_worker(f"wrk_{1:026d}", WorkerStatus.UNCLAIMED),
        make_worker(f"wrk_{2:026d}", WorkerStatus.READY, spec=engine),
        make_worker(status=WorkerStatus.READY),
    ]
    assert pool.stop_all(1.0) == 1
    assert [call for call in daemon.calls if call.endswith("/stop")] == [
        f"/workers/{WORKER_ID}/stop"
    ]
