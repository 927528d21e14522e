"""The pool of one host as a person runs it: real daemon, real worker, real commands."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from support.home import Finished, Home
from support.pool_commands import spawn, workers
from support.waiting import until_sync

pytestmark = pytest.mark.e2e

DAEMON = Path(sys.executable).parent / "pool-managerd"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """An installation whose pool is stopped at the end, workers included."""
    home = Home(tmp_path / "home")
    home.folder.mkdir()
    yield home
    home.pool("daemon", "stop", "--workers").must()
    until_sync(lambda: not home.processes(), what="the end of every process")


def run_daemon(home: Home, *args: str) -> Finished:
    """Run the daemon itself in the foreground; only where it refuses to start."""
    argv = (str(DAEMON), *args)
    done = subprocess.run(
        argv, env=home.env, capture_output=True, text=True, timeout=30, check=False
    )
    return Finished(argv, done.returncode, done.stdout, done.stderr)


def is_alive(pid: object) -> bool:
    assert isinstance(pid, int)
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_a_day_in_the_life_of_a_pool(home: Home) -> None:
    assert "pool-managerd is running at" in home.pool("daemon", "start").must().out
    assert "is already running at" in home.pool("daemon", "start").must().out
    worker = spawn(home)
    assert worker["status"] == "ready"
    assert worker["name"] == "worker-cpu-0"
    assert worker["backend"] == "cpu"
    assert is_alive(worker["pid"])
    assert [it["id"] for it in workers(home)] == [worker["id"]]
    assert "worker-cpu-0" in home.pool("status").must().out
    home.pool("worker", "stop", str(worker["id"])).must()
    assert workers(home) == []
    assert not is_alive(worker["pid"])
    second = spawn(home, "tiny-story")
    done = home.pool("daemon", "stop", "--workers").must()
    assert "1 worker stopped" in done.out
    assert not is_alive(second["pid"])
    assert home.processes() == []
    assert workers(home) == []


def test_a_restart_of_the_daemon_interrupts_no_worker(home: Home) -> None:
    home.pool("daemon", "start").must()
    worker = spawn(home)
    done = home.pool("daemon", "stop").must()
    assert "1 worker left running; llorch-pool daemon stop --workers stops them" in done.out
    assert is_alive(worker["pid"])
    last = json.loads(home.log("pool-managerd").splitlines()[-1])
    assert last["event"] == "pool.stopped"
    assert last["workers_left_running"] == 1
    assert "--workers" in last["hint"]
    home.pool("daemon", "start").must()
    (adopted,) = workers(home)
    assert (adopted["id"], adopted["pid"]) == (worker["id"], worker["pid"])
    assert adopted["status"] == "ready"


def test_a_killed_daemon_leaves_workers_that_the_next_one_takes_over(home: Home) -> None:
    home.pool("daemon", "start").must()
    worker = spawn(home)
    pid = home.pid("pool-managerd")
    os.kill(pid, signal.SIGKILL)
    until_sync(lambda: not is_alive(pid), what="the daemon's end")
    assert [it["pid"] for it in workers(home)] == [worker["pid"]]
    home.pool("daemon", "start").must()
    assert [it["pid"] for it in workers(home)] == [worker["pid"]]


def test_workers_of_a_stopped_daemon_can_still_be_stopped(home: Home) -> None:
    home.pool("daemon", "start").must()
    worker = spawn(home)
    home.pool("daemon", "stop").must()
    done = home.pool("daemon", "stop", "--workers").must()
    assert "pool-managerd is not running" in done.out
    assert "1 worker stopped" in done.out
    assert not is_alive(worker["pid"])


def test_a_second_daemon_on_the_same_folder_is_refused(home: Home) -> None:
    home.pool("daemon", "start").must()
    done = run_daemon(home).must(78)
    pid = home.pid("pool-managerd")
    assert done.err.splitlines() == [
        f"pool-managerd: process {pid} already uses {home.state / 'pool'}"
    ]


def test_a_taken_port_names_its_holder(home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        bind = f"127.0.0.1:{listener.getsockname()[1]}"
        done = run_daemon(home, "--bind", bind).must(78)
        assert done.err.count("\n") == 1
        assert f"process {os.getpid()}" in done.err
        started = home.pool("daemon", "start", "--bind", bind).must(1)
        assert "Traceback" not in started.err
        assert f"process {os.getpid()}" in started.err


def test_a_wrong_settings_file_is_explained_by_the_start(home: Home) -> None:
    config = home.folder / "pool.toml"
    config.write_text("colour = 'red'\n")
    done = home.pool("daemon", "start", "--config", str(config)).must(1)
    assert 'unknown key "colour"' in done.err
    assert "Traceback" not in done.err


def test_a_frozen_daemon_is_named_and_does_not_freeze_a_command(home: Home) -> None:
    home.pool("daemon", "start").must()
    pid = home.pid("pool-managerd")
    os.kill(pid, signal.SIGSTOP)
    try:
        done = home.pool("worker", "list", timeout_s=20)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert done.code in (5, 124)
    assert f"pool-managerd (pid {pid}) runs but does not answer" in done.err


def test_a_failed_start_of_a_worker_is_told_in_one_line(home: Home) -> None:
    home.pool("daemon", "start").must()
    done = home.pool("worker", "spawn", "cuda", "--model", "tiny-chat").must(1)
    assert "BACKEND_UNAVAILABLE" in done.err
    assert done.out == ""
    done = home.pool("worker", "spawn", "cpu", "--model", "no-such-model").must(3)
    assert "MODEL_NOT_FOUND" in done.err


def test_two_installations_do_not_see_each_other(home: Home, tmp_path: Path) -> None:
    other = Home(tmp_path / "other")
    home.pool("daemon", "start").must()
    other.pool("daemon", "start").must()
    try:
        spawn(home)
        assert workers(other) == []
        done = other.pool("worker", "list", "--url", home.pool_url).must(4)
        assert "BAD_KEY" in done.err
    finally:
        other.pool("daemon", "stop", "--workers").must()
    assert len(workers(home)) == 1


def test_only_this_user_can_read_the_key_and_only_it_opens_the_pool(home: Home) -> None:
    home.pool("daemon", "start").must()
    key_file = home.state / "pool" / "pool.key"
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    with httpx.Client(base_url=home.pool_url, trust_env=False) as client:
        health = client.get("/health").json()
        assert health["product"] == "pool-managerd"
        assert health["instance"] == home.run_file("pool-managerd")["instance"]
        assert client.get("/workers").status_code == 401
        key = {"authorization": f"Bearer {key_file.read_text().strip()}"}
        assert client.get("/workers", headers=key).json() == {"items": []}
        rebound = {**key, "host": "evil.example"}
        assert client.get("/workers", headers=rebound).status_code == 403
    assert key_file.read_text().strip() not in home.log("pool-managerd")
