"""llorch up, down and orchestrator with stand-in daemons: real processes, no engine."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from llorch_ctl.home import lifecycle
from llorch_ctl.main import cli
from orchestrator_core.config.layout import Layout
from orchestrator_core.platforms import files, runfiles, select
from support.fake_daemon import install
from support.waiting import until_sync

PLATFORM = select.current()


class Home:
    def __init__(self, folder: Path) -> None:
        self.env = {
            "LLORCH_HOME": str(folder),
            "LLORCH_ORCHESTRATOR_BIND": "127.0.0.1:0",
            "LLORCH_POOL_BIND": "127.0.0.1:0",
            "LLORCH_API_KEY": "",
            "LLORCH_ORCHESTRATOR_URL": "",
        }
        self.layout = Layout.from_env(self.env)
        self.pids: set[int] = set()

    def run(self, *args: str, **env: str) -> Result:
        result = CliRunner().invoke(cli, args, env=self.env | env)
        self.pids |= {self.pid(name) for name in ("orchestratord", "pool-managerd")}
        return result

    def pid(self, daemon: str) -> int:
        run = runfiles.read(self.layout.run_folder, daemon)
        return run.pid if run else 0

    def add_worker(self, name: str, *, known: bool = True) -> subprocess.Popen[bytes]:
        """Start a process and record it as the pool daemon would."""
        process = subprocess.Popen(
            ["sleep", "600"], start_new_session=True, env={"LLORCH_WORKER": name}
        )
        identity = PLATFORM.identify(process.pid)
        assert identity is not None
        record = {"id": name, "name": f"{name}-name"}
        if known:
            record |= {
                "pid": identity.pid,
                "start_time": identity.start_time,
                "boot_id": identity.boot_id,
            }
        files.ensure_folder(self.layout.worker_records)
        (self.layout.worker_records / f"{name}.json").write_text(json.dumps(record))
        return process


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    programs = install(tmp_path / "bin")
    monkeypatch.setattr(sys, "executable", str(programs / "python"))
    made = Home(tmp_path / "home")
    yield made
    made.run("down")
    for pid in made.pids - {0}:
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)


def test_up_starts_both_daemons_and_prints_how_to_use_them(home: Home) -> None:
    result = home.run("up")
    assert result.exit_code == 0, result.output
    run = runfiles.read_live(home.layout.run_folder, "orchestratord", PLATFORM)
    assert run is not None
    assert result.stdout == (
        "llama-orch is running\n"
        f"  web   {run.url}\n"
        f"  api   {run.url}/v1\n"
        "  key   llorch_fake\n"
        "  stop  llorch down\n"
    )
    assert home.pid("pool-managerd")


def test_second_up_says_so_and_prints_the_same(home: Home) -> None:
    first, second = home.run("up"), home.run("up")
    assert second.exit_code == 0
    assert second.stderr == ""
    assert second.stdout == first.stdout.replace("is running", "is already running")


def test_up_speaks_json(home: Home) -> None:
    row = json.loads(home.run("up", "--format", "json").stdout)
    assert row["status"] == "started"
    assert row["api_base"] == f"{row['url']}/v1"
    assert (row["key"], row["pool"], row["stop"]) == ("llorch_fake", "here", "llorch down")
    again = json.loads(home.run("up", "--format", "json", "--quiet").stdout)
    assert again == row | {"status": "already_running"}


def test_up_points_a_pool_of_another_orchestrator_to_ours(home: Home) -> None:
    elsewhere = home.env | {"LLORCH_POOL_ORCHESTRATOR_URL": "http://127.0.0.1:9"}
    process = subprocess.Popen([Path(sys.executable).parent / "pool-managerd"], env=elsewhere)
    try:
        until_sync(lambda: home.pid("pool-managerd") == process.pid, what="the pool daemon")
        result = home.run("up")
        assert result.exit_code == 0, result.output
        assert "it is started again for" in result.stderr
        assert home.pid("pool-managerd") not in (0, process.pid)
    finally:
        process.kill()
        process.wait()


def test_up_leaves_a_pool_alone_that_finds_a_restarted_orchestrator_itself(home: Home) -> None:
    home.run("up")
    first = home.pid("pool-managerd")
    home.run("orchestrator", "stop")
    result = home.run("up")
    assert result.exit_code == 0, result.output
    assert home.pid("pool-managerd") == first


def test_up_reports_a_daemon_that_dies_with_its_last_words(home: Home) -> None:
    result = home.run("up", FAKE_DAEMON="dies")
    assert result.exit_code == 1
    assert "orchestratord ended with exit code 7" in result.stderr
    assert result.stderr.endswith("  the cellar is flooded\n")
    assert "Traceback" not in result.output


def test_up_does_not_wait_for_ever_for_a_pool(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "_ONLINE_TIMEOUT_S", 0.2)
    result = home.run("up", FAKE_DAEMON="lonely")
    assert result.exit_code == 124
    assert "the pool here is not online after 0.2 s: it has not registered" in result.stderr
    assert result.stderr.endswith("  pool-managerd starts with []\n")


def test_down_stops_daemons_and_workers_and_reports_them(home: Home) -> None:
    home.run("up")
    worker, intent = home.add_worker("wrk_a"), home.add_worker("wrk_b", known=False)
    result = home.run("down", "--format", "json")
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    assert [row["name"] for row in rows] == [
        "pool-managerd",
        "wrk_a-name",
        "wrk_b-name",
        "orchestratord",
    ]
    assert {row["ending"] for row in rows} == {"stopped"}
    assert (worker.wait(), intent.wait()) == (-signal.SIGTERM, -signal.SIGTERM)
    again = home.run("down")
    assert (again.exit_code, again.output) == (0, "nothing is running\n")


def test_down_ends_workers_of_a_killed_pool_daemon_but_no_stranger(home: Home) -> None:
    home.run("up")
    worker, stranger = home.add_worker("wrk_a"), home.add_worker("wrk_b")
    path = home.layout.worker_records / "wrk_b.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"start_time": record["start_time"] - 1}))
    (home.layout.worker_records / "wrk_c.json").write_text("{broken")
    pid = home.pid("pool-managerd")
    os.kill(pid, signal.SIGKILL)
    os.kill(worker.pid, signal.SIGSTOP)
    result = home.run("down")
    assert result.exit_code == 0, result.output
    assert "wrk_a-name" in result.stdout
    assert worker.wait() == -signal.SIGTERM
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


def test_orchestrator_starts_and_stops_and_says_what_is_so_already(home: Home) -> None:
    started = home.run("orchestrator", "start", "--bind", "127.0.0.1:0")
    assert started.exit_code == 0, started.output
    assert "orchestratord is running at http://127.0.0.1:" in started.stdout
    again = home.run("orchestrator", "start")
    assert (again.exit_code, "is already running" in again.stdout) == (0, True)
    log = home.run("orchestrator", "logs", "-n", "1")
    assert log.stdout == "orchestratord starts with ['--bind', '127.0.0.1:0']\n"
    stopped = home.run("orchestrator", "stop")
    assert (stopped.exit_code, "has stopped" in stopped.stdout) == (0, True)
    assert home.run("orchestrator", "stop").output == "orchestratord is not running\n"


def test_orchestrator_status_tells_by_its_exit_code(home: Home) -> None:
    stopped = home.run("orchestrator", "status", "--format", "json")
    assert stopped.exit_code == 5
    assert json.loads(stopped.stdout) == {"name": "orchestratord", "status": "stopped"}
    home.run("orchestrator", "start")
    running = home.run("orchestrator", "status", "--format", "json")
    assert running.exit_code == 0
    row = json.loads(running.stdout)
    assert (row["status"], row["pid"]) == ("running", home.pid("orchestratord"))


def test_port_in_use_is_told_with_its_holder(home: Home, tmp_path: Path) -> None:
    home.run("orchestrator", "start")
    run = runfiles.read(home.layout.run_folder, "orchestratord")
    assert run is not None
    other = Home(tmp_path / "other")
    bind = run.url.removeprefix("http://")
    result = other.run("orchestrator", "start", LLORCH_ORCHESTRATOR_BIND=bind)
    assert result.exit_code == 1
    assert f"{bind} is in use by process {run.pid} (orchestratord)" in result.stderr


def test_settings_file_must_exist(home: Home) -> None:
    assert home.run("orchestrator", "start", "--config", "nowhere.toml").exit_code == 2


def test_logs_of_a_daemon_that_never_ran_are_empty(home: Home) -> None:
    result = home.run("orchestrator", "logs")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "has not written" in result.stderr


def test_daemon_gets_no_key_of_the_caller(home: Home) -> None:
    home.run("orchestrator", "start", LLORCH_API_KEY="secret")
    environ = Path(f"/proc/{home.pid('orchestratord')}/environ").read_bytes()
    assert b"LLORCH_HOME=" in environ
    assert b"secret" not in environ
