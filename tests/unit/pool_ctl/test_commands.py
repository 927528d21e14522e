"""What the commands show and how they end, without any daemon."""

import contextlib
import json
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from orchestrator_core.contracts.pool import (
    DeviceReport,
    PoolStatusView,
    SpawnRequest,
    StopRequest,
    WorkerReport,
    WorkerStatus,
)
from pool_ctl.commands import leftovers
from pool_ctl.main import cli
from pool_ctl.pools import choice
from support.pool_fakes import SPEC, WORKER_ID, FakeDevices, make_worker

Invoke = Callable[..., Result]


class FakePool:
    """A pool with one ready worker."""

    def __init__(self) -> None:
        self.items = [make_worker(status=WorkerStatus.READY)]
        self.orders: list[SpawnRequest | StopRequest] = []
        self.daemon_url: str | None = "http://127.0.0.1:9200"
        self.interrupted = False

    def workers(self) -> list[WorkerReport]:
        """All workers."""
        return self.items

    def look(self, started: WorkerReport) -> WorkerReport | None:
        """The newest word about a worker."""
        if self.interrupted:
            raise KeyboardInterrupt
        return next((it for it in self.items if it.id == started.id), None)

    def logs(self, worker: str, *, tail: int, follow: bool) -> Iterator[str]:
        """What was asked for."""
        yield f"{worker} {tail} {follow}"

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
    def reach(*_args: object) -> Generator[FakePool]:
        yield fake

    monkeypatch.setattr(choice, "open_pool", reach)
    return fake


def test_without_a_daemon_the_command_answers_itself(invoke: Invoke) -> None:
    listed = invoke("worker", "list", "--format", "json")
    assert (listed.exit_code, json.loads(listed.stdout)) == (0, [])
    shown = invoke("status")
    assert shown.exit_code == 0
    assert "not running; llorch-pool daemon start starts it" in shown.stdout
    assert json.loads(invoke("status", "--format", "json").stdout)["daemon_url"] is None
    gone = invoke("worker", "stop", "worker-cpu-0")
    assert gone.exit_code == 3
    line = "error: no worker of this host is named worker-cpu-0 (WORKER_NOT_FOUND)\n"
    assert gone.stderr == line
    assert invoke("worker", "logs", "worker-cpu-0").stderr == line


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


def test_a_file_is_named_by_its_whole_path_and_the_pool_chooses_the_rest(
    invoke: Invoke, pool: FakePool
) -> None:
    result = invoke("worker", "spawn", "cpu", "--model", "./My Model.gguf", "--threads", "3")
    assert result.exit_code == 0
    (order,) = pool.orders
    assert isinstance(order, SpawnRequest)
    model = order.spec.model
    assert (model.source, model.model_id) == ("file", "my-model")
    assert model.file == str(Path.cwd() / "My Model.gguf")
    assert (order.spec.ctx, order.spec.parallel, order.spec.threads) == (None, None, 3)


def test_the_key_file_is_told_where_the_worker_is_of_this_host(
    invoke: Invoke, pool: FakePool, tmp_path: Path
) -> None:
    argv = ("worker", "spawn", "cpu", "--model", "tiny-chat", "--format", "json")
    assert "key_file" not in json.loads(invoke(*argv).stdout)
    key_file = tmp_path / "state" / "pool" / "workers" / f"{pool.items[0].id}.key"
    key_file.parent.mkdir(parents=True)
    key_file.write_text("the-worker-key\n")
    assert json.loads(invoke(*argv).stdout)["key_file"] == str(key_file)


def test_ctrl_c_while_waiting_says_that_the_worker_goes_on(invoke: Invoke, pool: FakePool) -> None:
    pool.interrupted = True
    result = invoke("worker", "spawn", "cpu", "--model", "tiny-chat")
    assert result.exit_code == 130
    line = "worker-cpu-0 goes on starting; llorch-pool worker stop worker-cpu-0 stops it"
    assert result.stderr.splitlines()[-1] == line


def test_a_worker_that_could_not_be_launched_is_an_error(
    invoke: Invoke, pool: FakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = make_worker(
        status=WorkerStatus.FAILED, error_code="WORKER_START_FAILED", error_message="no program"
    )
    monkeypatch.setattr(pool, "spawn", lambda _order: failed)
    result = invoke("worker", "spawn", "cpu", "--model", "tiny-chat", "--no-wait")
    assert result.exit_code == 1
    assert result.stderr == (
        "error: worker-cpu-0 did not start: no program (WORKER_START_FAILED)\n"
    )


@pytest.mark.usefixtures("pool")
def test_the_logs_of_a_worker_are_its_own_lines(invoke: Invoke) -> None:
    assert invoke("worker", "logs", "worker-cpu-0").stdout == "worker-cpu-0 100 False\n"
    followed = invoke("worker", "logs", "worker-cpu-0", "-n", "5", "-f").stdout
    assert followed == "worker-cpu-0 5 True\n"


def test_a_device_shows_what_its_driver_says(
    invoke: Invoke, pool: FakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = (
        FakeDevices()
        .reports()[0]
        .model_copy(
            update={"stale": True, "fault": "GPU is lost", "temperature_c": 61.4, "driver": "570.1"}
        )
    )
    monkeypatch.setattr(pool, "devices", lambda: [card])
    table = invoke("devices").stdout
    for word in ("61 C", "570.1", "stale: GPU is lost"):
        assert word in table
    (row,) = json.loads(invoke("devices", "--format", "json").stdout)
    assert (row["stale"], row["fault"], row["temperature_c"]) == (True, "GPU is lost", 61.4)


def test_a_failed_worker_is_listed_with_its_error(invoke: Invoke, pool: FakePool) -> None:
    pool.items = [
        make_worker(
            status=WorkerStatus.PARKED,
            incarnation=5,
            error_code="WORKER_LOST",
            error_message="it ended 5 times within 10 minutes",
        )
    ]
    table = invoke("worker", "list").stdout
    assert "parked" in table
    assert "it ended 5 times within 10 minutes" in table


def test_an_engine_of_somebody_else_has_no_starts_to_count(invoke: Invoke, pool: FakePool) -> None:
    spec = SPEC.model_copy(update={"engine": "openai"})
    pool.items = [make_worker(status=WorkerStatus.READY, spec=spec, incarnation=1_795_277_632)]
    assert "1795277632" not in invoke("worker", "list").stdout
    (row,) = json.loads(invoke("worker", "list", "--format", "json").stdout)
    assert (row["starts"], row["incarnation"]) == (None, 1_795_277_632)


def test_stop_passes_the_grace_on(invoke: Invoke, pool: FakePool) -> None:
    result = invoke("worker", "stop", "worker-cpu-0", "--grace", "2.5")
    assert result.exit_code == 0
    assert "worker-cpu-0" in result.stdout
    assert pool.orders == [StopRequest(grace_s=2.5)]


@pytest.mark.parametrize(
    "argv",
    [
        ("worker", "stop", "w", "--grace", "nan"),
        ("worker", "spawn", "cpu", "--model", "tiny-chat", "--timeout", "nan"),
        ("worker", "spawn", "cpu", "--model", "tiny-chat", "--timeout", "inf"),
        ("daemon", "stop", "--grace", "nan"),
    ],
)
def test_a_time_that_never_comes_is_wrong_usage(
    invoke: Invoke, pool: FakePool, argv: tuple[str, ...]
) -> None:
    result = invoke(*argv)
    assert result.exit_code == 2
    assert f"{argv[-1]} is not a length of time" in result.stderr
    assert pool.orders == []


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


@pytest.mark.parametrize("form", ["table", "json"])
def test_a_worker_that_is_left_after_stopping_all_is_told_and_no_success(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setattr(leftovers, "count_workers", lambda _settings: 1)
    result = invoke("daemon", "stop", "--workers", "--format", form)
    assert result.exit_code == 1
    assert result.stderr == ("warning: 1 worker left running; llorch-pool worker list says why\n")


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
