"""Daemons and workers are killed; workers live on, strangers are left alone, nothing is lost.

Run more often by `./dev faults adopt --reps N`.
"""

import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from orchestrator_core.platforms.select import current
from pool_core.workers.ports import choose_port, is_free
from support.answers import chat_answers
from support.faults import (
    forge_record,
    frozen_in_mid_stream,
    is_alive,
    kill,
    listed,
    sleeper,
)
from support.home import Home
from support.pool_commands import spawn
from support.waiting import until_sync

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("repetition")]

Worker = dict[str, object]

# Several workers share two cores here.
ONE = ("--threads", "1")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """A pool whose daemon runs; in the end it and its workers are gone."""
    home = Home(tmp_path / "home")
    home.folder.mkdir()
    home.pool("daemon", "start").must()
    yield home
    try:
        for process in home.processes():
            process.resume()
        home.pool("daemon", "stop", "--workers").must()
        until_sync(lambda: not home.processes(), what="the end of every process")
    finally:
        # A drill that failed half-way may have left a process that the pool must not touch.
        for process in home.processes():
            with contextlib.suppress(psutil.Error):
                process.kill()


def kill_daemon(home: Home) -> None:
    kill(home.pid("pool-managerd"))


def becomes(home: Home, worker_id: object, **facts: object) -> Worker:
    """Wait until a worker is seen to be so."""

    def arrived() -> Worker | None:
        worker = listed(home).get(str(worker_id), {})
        return worker if worker and facts.items() <= worker.items() else None

    worker = until_sync(arrived, timeout_s=30, what=f"{worker_id} to be {facts}")
    assert worker is not None
    return worker


def test_a_killed_daemon_breaks_no_stream_and_the_next_one_knows_its_workers(home: Home) -> None:
    workers = [
        spawn(home, "tiny-chat", *ONE),
        spawn(home, "tiny-story", *ONE),
        spawn(home, "tiny-chat", *ONE),
    ]
    whole = chat_answers("tiny-chat")["Count to one hundred"]
    stream = frozen_in_mid_stream(home, workers[0], whole)
    assert 0 < len(stream.text) < len(whole)
    kill_daemon(home)
    assert all(is_alive(worker["pid"]) for worker in workers)

    home.pool("daemon", "start").must()
    pids = {worker["id"]: worker["pid"] for worker in workers}
    until_sync(
        lambda: {name: item["pid"] for name, item in listed(home).items()} == pids,
        timeout_s=5,
        what="the same processes to be adopted",
    )
    assert stream.thaw() == whole
    for worker in workers:
        assert becomes(home, worker["id"], status="ready")["incarnation"] == 1
    assert {process.pid for process in home.workers()} == set(pids.values())


def test_a_killed_worker_is_seen_at_once_and_comes_back_in_its_place(home: Home) -> None:
    first, second = spawn(home, "tiny-chat", *ONE), spawn(home, "tiny-story", *ONE)
    kill(first["pid"])
    failed = until_sync(
        lambda: (it := listed(home)[str(first["id"])])["status"] != "ready" and it,
        timeout_s=1,
        what="the end to be seen",
    )
    assert failed["error_code"] == "WORKER_LOST"
    assert "it comes back in" in str(failed["error_message"])
    again = becomes(home, first["id"], status="ready", incarnation=2)
    assert again["pid"] != first["pid"]
    assert again["name"] == first["name"]
    # The kernel may keep the port of a killed process for a minute; else the worker has its own.
    assert again["port"] == first["port"] or not is_free(int(str(first["port"])))
    assert isinstance(again["memory_bytes"], int)
    assert {process.pid for process in home.workers()} == {again["pid"], second["pid"]}
    for worker in (again, second):
        holder = current().port_holder(int(str(worker["port"])))
        assert holder is not None
        assert holder.pid == worker["pid"]


def test_a_squatter_on_the_port_is_left_alone_and_walked_around(home: Home) -> None:
    worker = spawn(home, "tiny-chat", *ONE)
    kill_daemon(home)
    kill(worker["pid"])
    with socket.socket() as squatter:
        # The worker's own port may rest for a minute after its end, so the squatter takes another
        # one and the ledger says that it was the worker's.
        taken = choose_port(())
        assert taken is not None
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("127.0.0.1", taken))
        squatter.listen()
        forge_record(home, str(worker["id"]), port=taken)
        home.pool("daemon", "start").must()
        again = becomes(home, worker["id"], status="ready", incarnation=2)
        assert again["port"] != taken


def test_a_recycled_pid_is_nobody_of_ours(home: Home) -> None:
    worker = spawn(home, "tiny-chat", *ONE)
    kill_daemon(home)
    kill(worker["pid"])
    with sleeper() as innocent:
        us = current().identify(innocent.pid)
        assert us is not None
        path = forge_record(
            home, str(worker["id"]), pid=us.pid, start_time=us.start_time, boot_id=us.boot_id
        )
        home.pool("daemon", "start").must()
        assert listed(home) == {}
        assert path.with_suffix(".foreign").exists()
        home.pool("worker", "stop", str(worker["id"])).must(3)
        home.pool("daemon", "stop", "--workers").must()
        home.pool("daemon", "start").must()


def test_even_our_own_marks_do_not_make_a_stranger_ours(home: Home) -> None:
    worker = spawn(home, "tiny-chat", *ONE)
    kill_daemon(home)
    kill(worker["pid"])
    with sleeper(LLORCH_WORKER=str(worker["id"]), LLORCH_INSTANCE="another-home") as innocent:
        us = current().identify(innocent.pid)
        assert us is not None
        forge_record(
            home, str(worker["id"]), pid=us.pid, start_time=us.start_time, boot_id=us.boot_id
        )
        home.pool("daemon", "start").must()
        assert listed(home) == {}


@pytest.mark.parametrize("key", ["a-key-that-opens-nothing-here", None])
def test_a_worker_that_refuses_our_key_is_never_touched(home: Home, key: str | None) -> None:
    worker = spawn(home, "tiny-chat", *ONE)
    kill_daemon(home)
    key_file = home.state / "pool" / "workers" / f"{worker['id']}.key"
    right = key_file.read_text("utf-8")
    if key is None:
        key_file.unlink()
    else:
        key_file.write_text(key, "utf-8")
    home.pool("daemon", "start").must()
    seen = becomes(home, worker["id"], status="unclaimed")
    assert "cannot be proven to be ours" in str(seen["error_message"])
    refused = home.pool("worker", "stop", "worker-cpu-0").must(1)
    assert f"kill {worker['pid']} ends it" in refused.err
    # Its name, its port and its memory count as taken.
    other = spawn(home, "tiny-story", *ONE)
    assert other["name"] != worker["name"]
    assert other["port"] != worker["port"]
    told = home.pool("daemon", "stop", "--workers").must(1)
    assert "1 worker left running" in told.err
    assert is_alive(worker["pid"])
    assert not is_alive(other["pid"])
    # With its key it is ours again.
    key_file.write_text(right, "utf-8")
    home.pool("daemon", "start").must()
    becomes(home, worker["id"], status="ready", pid=worker["pid"])


def test_an_end_that_nobody_watched_is_told_and_mended(home: Home) -> None:
    worker = spawn(home, "tiny-chat", *ONE)
    kill_daemon(home)
    kill(worker["pid"])
    (shown,) = json.loads(home.pool("worker", "list", "--format", "json").must().out)
    assert (shown["id"], shown["status"]) == (worker["id"], "failed")
    home.pool("daemon", "start").must()
    again = becomes(home, worker["id"], status="ready", incarnation=2)
    assert psutil.Process(int(str(again["pid"]))).is_running()
