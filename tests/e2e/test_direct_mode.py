"""llorch-pool by itself: no daemon, no orchestrator, the real worker and the real commands."""

import contextlib
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from support.answers import chat_answers
from support.home import Home
from support.pool_commands import spawn, workers
from support.waiting import until_sync

pytestmark = pytest.mark.e2e

PROGRAMS = Path(sys.executable).parent
FIRST_KEYS = ["id", "name", "pid", "port", "status", "model", "backend"]

HOLDER = """
import sys
from pathlib import Path
from orchestrator_core.platforms.files import FileLock
assert FileLock(Path(sys.argv[1])).try_acquire()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """An installation without a daemon, whose workers are stopped at the end."""
    home = Home(tmp_path / "home")
    home.folder.mkdir()
    yield home
    home.pool("daemon", "stop", "--workers").must()
    until_sync(lambda: not home.processes(), what="the end of every process")


class Gated:
    """A worker program that becomes the real one once it is let through."""

    def __init__(self, home: Home) -> None:
        self._gate = home.folder / "gate"
        program = home.folder / "llorch-worker"
        program.write_text(
            f"#!/bin/sh\nwhile [ ! -e '{self._gate}' ]; do sleep 0.05; done\n"
            f"exec '{PROGRAMS / 'llorch-worker'}' \"$@\"\n"
        )
        program.chmod(0o700)
        home.env["LLORCH_POOL_WORKER_PROGRAM"] = str(program)

    def open(self) -> None:
        """Let every worker through."""
        self._gate.touch()


@contextlib.contextmanager
def spawning(home: Home) -> Generator[subprocess.Popen[str]]:
    """A spawn that has launched its worker and waits until it is ready."""
    argv = (str(PROGRAMS / "llorch-pool"), "worker", "spawn", "cpu", "--model", "tiny-chat")
    with subprocess.Popen(
        argv,
        env=home.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            assert "worker-cpu-0: starting tiny-chat" in process.stderr.readline()
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def facts(home: Home) -> list[list[object]]:
    """What must not depend on who is asked."""
    return [[row[key] for key in FIRST_KEYS] for row in workers(home)]


def is_alive(pid: object) -> bool:
    assert isinstance(pid, int)
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_a_worker_from_its_start_to_its_end_without_any_daemon(home: Home) -> None:
    assert workers(home) == []
    worker = spawn(home)
    assert worker["name"] == "worker-cpu-0"
    assert worker["status"] == "ready"
    assert is_alive(worker["pid"])
    key_file = Path(str(worker["key_file"]))
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    prompt, answer = next(iter(chat_answers("tiny-chat").items()))
    with httpx.Client(base_url=f"http://127.0.0.1:{worker['port']}", trust_env=False) as client:
        body = {"messages": [{"role": "user", "content": prompt}], "temperature": 0}
        assert client.post("/v1/chat/completions", json=body).status_code == 401
        bearer = {"authorization": f"Bearer {key_file.read_text().strip()}"}
        said = client.post("/v1/chat/completions", json=body, headers=bearer, timeout=60).json()
    assert said["choices"][0]["message"]["content"] == answer
    (row,) = workers(home)
    assert list(row)[: len(FIRST_KEYS)] == FIRST_KEYS
    assert [row[key] for key in FIRST_KEYS] == [worker[key] for key in FIRST_KEYS]
    assert "listening" in home.pool("worker", "logs", "worker-cpu-0").must().out
    shown = home.pool("status").must().out
    assert "not running; llorch-pool daemon start starts it" in shown
    assert "worker-cpu-0" in shown
    home.pool("worker", "stop", "worker-cpu-0").must()
    assert not is_alive(worker["pid"])
    assert not key_file.exists()
    assert workers(home) == []
    assert "listening" in home.pool("worker", "logs", str(worker["id"])).must().out


def test_spawns_at_the_same_time_get_names_and_ports_of_their_own(home: Home) -> None:
    argv = (str(PROGRAMS / "llorch-pool"), "worker", "spawn", "cpu", "--model", "tiny-story")
    started = [
        subprocess.Popen(argv, env=home.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(4)
    ]
    assert [process.wait(timeout=90) for process in started] == [0, 0, 0, 0]
    listed = workers(home)
    assert {row["status"] for row in listed} == {"ready"}
    assert len({row["name"] for row in listed}) == len({row["port"] for row in listed}) == 4


def test_a_file_of_this_host_is_a_model_too(home: Home) -> None:
    worker = spawn(home)
    command = psutil.Process(int(str(worker["pid"]))).cmdline()
    model = Path(command[command.index("--model") + 1])
    copy = home.folder / "My Model.gguf"
    copy.write_bytes(model.read_bytes())
    own = spawn(home, str(copy))
    assert (own["name"], own["model"]) == ("worker-cpu-0-2", "my-model")
    copy.write_bytes(model.read_bytes()[:4000])
    refused = home.pool("worker", "spawn", "cpu", "--model", str(copy)).must(1)
    assert "MODEL_INCOMPATIBLE" in refused.err
    assert len(workers(home)) == 2


def test_a_waiting_spawn_keeps_nobody_else_waiting(home: Home) -> None:
    gated = Gated(home)
    with spawning(home) as first:
        assert [row["status"] for row in workers(home)] in (["starting"], ["loading"])
        second = home.pool("worker", "spawn", "cpu", "--model", "tiny-story", "--no-wait").must()
        assert "worker-cpu-0-2" in second.out
        gated.open()
        assert first.wait(timeout=60) == 0
    home.pool("worker", "stop", "worker-cpu-0-2").must()
    assert [row["status"] for row in workers(home)] == ["ready"]


def test_ctrl_c_leaves_the_worker_starting_and_says_how_to_stop_it(home: Home) -> None:
    gated = Gated(home)
    with spawning(home) as process:
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said == "worker-cpu-0 goes on starting; llorch-pool worker stop worker-cpu-0 stops it\n"
    gated.open()
    until_sync(
        lambda: [row["status"] for row in workers(home)] == ["ready"],
        timeout_s=60,
        what="the worker to be ready by itself",
    )


def test_a_worker_that_fails_to_start_is_explained_and_can_be_cleared_away(home: Home) -> None:
    program = home.folder / "llorch-worker"
    program.write_text("#!/bin/sh\necho \"unknown model architecture: 'quux'\" >&2\nexit 1\n")
    program.chmod(0o700)
    home.env["LLORCH_POOL_WORKER_PROGRAM"] = str(program)
    done = home.pool("worker", "spawn", "cpu", "--model", "tiny-chat").must(1)
    assert "worker-cpu-0 did not start: unknown model architecture quux" in done.err
    (row,) = workers(home)
    assert (row["status"], row["error_code"]) == ("failed", "MODEL_INCOMPATIBLE")
    home.pool("worker", "stop", "worker-cpu-0").must()
    assert workers(home) == []


def test_daemon_and_command_know_the_same_workers(home: Home) -> None:
    spawn(home)
    known = facts(home)
    home.pool("daemon", "start").must()
    assert facts(home) == known
    spawn(home, "tiny-story")
    known = facts(home)
    assert len(known) == 2
    pid = home.pid("pool-managerd")
    os.kill(pid, signal.SIGKILL)
    # At once, without waiting: the command sees for itself who is still there.
    assert facts(home) == known
    home.pool("daemon", "start").must()
    assert facts(home) == known
    home.pool("daemon", "stop").must()
    assert facts(home) == known


def test_a_daemon_that_starts_meanwhile_takes_a_starting_worker_over(home: Home) -> None:
    gated = Gated(home)
    with spawning(home) as process:
        (before,) = workers(home)
        home.pool("daemon", "start").must()
        gated.open()
        assert process.wait(timeout=60) == 0
    (after,) = workers(home)
    assert (after["id"], after["pid"], after["status"]) == (before["id"], before["pid"], "ready")


def test_a_daemon_that_dies_meanwhile_leaves_the_wait_to_the_command(home: Home) -> None:
    gated = Gated(home)
    home.pool("daemon", "start").must()
    with spawning(home) as process:
        os.kill(home.pid("pool-managerd"), signal.SIGKILL)
        gated.open()
        assert process.wait(timeout=60) == 0
    assert [row["status"] for row in workers(home)] == ["ready"]


def test_a_frozen_daemon_is_named_by_every_command_that_needs_it(home: Home) -> None:
    home.pool("daemon", "start").must()
    spawn(home)
    pid = home.pid("pool-managerd")
    os.kill(pid, signal.SIGSTOP)
    try:
        told = [
            home.pool("worker", "list", timeout_s=20),
            home.pool("worker", "spawn", "cpu", "--model", "tiny-chat", timeout_s=20),
        ]
        logs = home.pool("worker", "logs", "worker-cpu-0", timeout_s=20)
    finally:
        os.kill(pid, signal.SIGCONT)
    for done in told:
        assert done.code in (5, 124)
        assert f"pool-managerd (pid {pid}) runs but does not answer" in done.err
    assert "listening" in logs.must().out
    assert len(workers(home)) == 1


def test_a_lock_held_by_a_stranger_is_told_with_its_pid(home: Home) -> None:
    workers(home)
    argv = (sys.executable, "-c", HOLDER, str(home.state / "pool" / "pool.lock"))
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        done = home.pool("worker", "list", timeout_s=30).must(124)
        holder.communicate(timeout=30)
    assert f"process {holder.pid} (" in done.err
    assert "pool.lock" in done.err
    assert done.err.count("\n") == 1
    assert workers(home) == []
