"""What the commands show and how they end, without any daemon."""

import contextlib
import json
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from orchestrator_core.contracts.pool import (
    DeviceReport,
    PoolStatusView,
    SpawnRequest,
    StopRequest,
    WorkerList,
    WorkerReport,
    WorkerStatus,
)
from pool_ctl.main import cli
from pool_ctl.settings import CliSettings
from support.pool_fakes import SPEC, WORKER_ID, FakeDevices, make_worker

Invoke = Callable[..., Result]


class FakePool:
    """A pool with one ready worker."""

    def __init__(self) -> None:
        self.items = [make_worker(status=WorkerStatus.READY)]
        self.orders: list[SpawnRequest | StopRequest] = []

    def workers(self) -> WorkerList:
        """All workers."""
        return WorkerList(items=self.items)

    def devices(self) -> list[DeviceReport]:
        """One processor."""
        return FakeDevices().reports()

    def status(self) -> PoolStatusView:
        """The pool's own summary."""
        return PoolStatusView(
            pool_id="attic",
            version="1.2.3",
            session_id="",
            orchestrator_url="http://127.0.0.1:8080",
            orchestrator_connected=True,
            devices=self.devices(),
            workers=self.items,
            models=[],
        )

    def spawn(self, order: SpawnRequest) -> WorkerReport:
        """Start a worker."""
        self.orders.append(order)
        return make_worker()

    def stop(self, worker: str, order: StopRequest) -> WorkerReport:
        """Stop a worker."""
        self.orders.append(order)
        return make_worker(status=WorkerStatus.STOPPED, name=worker)


@pytest.fixture
def invoke(tmp_path: Path) -> Invoke:
    """Run a command on an empty home where no daemon answers."""

    def run(*argv: str, **env: str) -> Result:
        home = {"LLORCH_HOME": str(tmp_path), "LLORCH_POOL_BIND": "127.0.0.1:1"}
        gone = dict.fromkeys(("LLORCH_API_KEY", "LLORCH_POOL_URL"))
        return CliRunner().invoke(cli, argv, env={**gone, **home, **env})

    return run


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> FakePool:
    """Let every command reach a fake pool."""
    fake = FakePool()

    @contextlib.contextmanager
    def reach(_settings: CliSettings, _url: str | None = None) -> Generator[FakePool]:
        yield fake

    monkeypatch.setattr(CliSettings, "pool", reach)
    return fake


@pytest.mark.parametrize(
    "argv",
    [
        ("worker", "list"),
        ("worker", "stop", "worker-cpu-0"),
        ("worker", "spawn", "cpu", "--model", "tiny-chat"),
        ("status",),
    ],
    ids=" ".join,
)
def test_without_a_daemon_one_line_says_how_to_start_it(
    invoke: Invoke, argv: tuple[str, ...]
) -> None:
    result = invoke(*argv)
    assert result.exit_code == 5
    assert result.stdout == ""
    line = "error: pool-managerd is not running: start it with llorch-pool daemon start"
    assert result.stderr == f"{line} (UNREACHABLE)\n"


def test_an_address_that_was_named_is_named_when_nothing_answers(invoke: Invoke) -> None:
    result = invoke("worker", "list", "--url", "http://127.0.0.1:1")
    assert result.exit_code == 5
    assert "http://127.0.0.1:1" in result.stderr


def test_devices_are_shown_without_a_daemon(invoke: Invoke) -> None:
    result = invoke("devices", "--format", "json")
    assert result.exit_code == 0
    assert "cpu" in [device["kind"] for device in json.loads(result.stdout)]


def test_workers_as_json_yaml_and_table_without_keys(invoke: Invoke, pool: FakePool) -> None:
    as_json = json.loads(invoke("worker", "list", "--format", "json").stdout)
    as_yaml = yaml.safe_load(invoke("worker", "list", "--format", "yaml").stdout)
    table = invoke("worker", "list").stdout
    assert as_json == as_yaml
    (row,) = as_json
    assert (row["id"], row["name"], row["pid"], row["port"]) == (
        WORKER_ID,
        "worker-cpu-0",
        4242,
        8001,
    )
    assert (row["status"], row["model"], row["backend"]) == ("ready", "tiny-chat", "cpu")
    assert table.splitlines()[0].split()[:3] == ["NAME", "ID", "STATUS"]
    assert pool.items[0].key is not None
    for text in (table, json.dumps(as_json)):
        assert "the-worker-key" not in text


def test_no_workers_is_an_empty_array_and_a_word_to_people(invoke: Invoke, pool: FakePool) -> None:
    pool.items = []
    assert json.loads(invoke("worker", "list", "--format", "json").stdout) == []
    result = invoke("worker", "list")
    assert (result.stdout, result.stderr) == ("", "There are no workers.\n")
    assert invoke("worker", "list", "--quiet").stderr == ""


def test_spawn_orders_what_was_typed_and_prints_the_worker(invoke: Invoke, pool: FakePool) -> None:
    argv = ("worker", "spawn", "cpu", "--model", "tiny-chat", "--ctx", "128", "--parallel", "2")
    result = invoke(*argv, "--format", "json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["id"] == WORKER_ID
    (order,) = pool.orders
    assert isinstance(order, SpawnRequest)
    assert order.worker_id is None
    assert (order.spec.ctx, order.spec.parallel) == (128, 2)
    assert "worker-cpu-0: starting tiny-chat" in result.stderr


def test_spawn_without_waiting_says_nothing_but_the_worker(invoke: Invoke, pool: FakePool) -> None:
    pool.items = []
    result = invoke("worker", "spawn", "cpu", "--model", SPEC.model.model_id, "--no-wait")
    assert result.exit_code == 0
    assert result.stderr == ""
    assert "4242" in result.stdout


@pytest.mark.parametrize(
    ("argv", "code", "word"),
    [
        (("cpu",), 2, "--model"),
        (("abacus", "--model", "tiny-chat"), 2, "abacus"),
        (("cpu", "--model", "tiny-chat", "--gpu", "0"), 2, "--gpu"),
        (("cpu", "--model", "tiny-chat", "--ctx", "1"), 2, "--ctx"),
        (("cpu", "--model", "no-such-model"), 3, "MODEL_NOT_FOUND"),
        (("cuda", "--model", "tiny-chat", "--gpu", "0"), 1, "BACKEND_UNAVAILABLE"),
    ],
)
def test_a_bad_spawn_is_refused_with_its_code(
    invoke: Invoke, pool: FakePool, argv: tuple[str, ...], code: int, word: str
) -> None:
    result = invoke("worker", "spawn", *argv)
    assert result.exit_code == code
    assert word in result.stderr
    assert pool.orders == []


def test_stop_passes_the_grace_on(invoke: Invoke, pool: FakePool) -> None:
    result = invoke("worker", "stop", "worker-cpu-0", "--grace", "2.5")
    assert result.exit_code == 0
    assert "worker-cpu-0" in result.stdout
    assert pool.orders == [StopRequest(grace_s=2.5)]


def test_status_shows_the_pool_and_its_workers(invoke: Invoke, pool: FakePool) -> None:
    shown = invoke("status").stdout
    assert "attic" in shown
    assert "http://127.0.0.1:8080 (connected)" in shown
    assert "worker-cpu-0" in shown
    data = json.loads(invoke("status", "--format", "json").stdout)
    assert data["pool_id"] == "attic"
    assert data["workers"][0]["id"] == WORKER_ID
    assert pool.orders == []


def test_stopping_a_stopped_daemon_says_so_and_ends_well(invoke: Invoke) -> None:
    result = invoke("daemon", "stop", "--workers")
    assert result.exit_code == 0
    assert result.stdout == "pool-managerd is not running\n0 workers stopped\n"
    result = invoke("daemon", "stop", "--format", "json")
    assert json.loads(result.stdout)["ending"] == "not running"


def test_the_status_of_a_stopped_daemon(invoke: Invoke) -> None:
    result = invoke("daemon", "status", "--format", "json")
    assert result.exit_code == 5
    assert json.loads(result.stdout)["status"] == "stopped"


def test_logs_show_the_last_lines(invoke: Invoke, tmp_path: Path) -> None:
    assert "has not written" in invoke("daemon", "logs").stderr
    folder = tmp_path / "state" / "log"
    folder.mkdir(parents=True)
    (folder / "pool-managerd.log").write_text("one\ntwo\nthree\n")
    assert invoke("daemon", "logs", "-n", "2").stdout == "two\nthree\n"
