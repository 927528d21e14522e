"""llorch jobs with real daemons and a real engine: handed in by a pipe, left, watched, cancelled."""

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from support.answers import chat_answers
from support.home import Home
from support.waiting import until_sync

pytestmark = pytest.mark.e2e

PROGRAM = Path(sys.executable).with_name("llorch")
ANSWERS = chat_answers("tiny-chat")
ASK = ("jobs", "submit", "--model", "tiny-chat")
LONG = "Count to one hundred"


def piped(home: Home, text: str, *args: str) -> str:
    done = subprocess.run(
        [PROGRAM, *ASK, *args],
        env=home.env,
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout


@contextlib.contextmanager
def submitting(home: Home, prompt: str, *args: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [PROGRAM, *ASK, "--prompt", prompt, *args],
        env=home.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


@contextlib.contextmanager
def frozen_worker(home: Home) -> Iterator[None]:
    """Keep the worker from answering; it has been started by a first question."""
    home.llorch(*ASK, "--prompt", "Hello").must()
    workers = home.workers()
    assert len(workers) == 1
    with contextlib.ExitStack() as thaw:
        for worker in workers:
            worker.suspend()
            thaw.callback(worker.resume)
        yield


def shown(home: Home, job: str) -> dict[str, Any]:
    return cast(
        "dict[str, Any]", home.llorch("jobs", "status", job, "--format", "json").must().json()
    )


def newest(home: Home, *args: str) -> dict[str, Any] | None:
    jobs = home.llorch("jobs", "list", "--limit", "1", "--format", "json", *args).must().json()
    found = cast("list[dict[str, Any]]", jobs)
    return found[0] if found else None


def test_a_piped_conversation_is_answered_shown_and_watched_again(home: Home) -> None:
    turn = json.dumps({"role": "user", "content": "What is a queue?"})
    flags = ("--messages", "-", "--metadata", "who=me", "--priority", "batch", "--deadline", "90s")
    assert piped(home, turn, *flags) == ANSWERS["What is a queue?"] + "\n"
    assert piped(home, "What is a seed?") == ANSWERS["What is a seed?"] + "\n"

    job = newest(home, "--priority", "batch", "--status", "completed", "--model", "tiny-chat")
    assert job is not None
    assert shown(home, job["id"])["metadata"] == {"who": "me"}
    page = home.llorch("jobs", "status", job["id"]).must().out
    assert page.splitlines()[-2].split() == [
        "ATTEMPT", "WORKER", "STATUS", "TOKENS", "KEPT", "REASON",
    ]  # fmt: skip
    again = home.llorch("jobs", "watch", job["id"]).must()
    assert again.out == ANSWERS["What is a queue?"] + "\n"
    lines = home.llorch("jobs", "watch", job["id"], "--format", "json", "--after", "2").must().out
    events = [json.loads(line) for line in lines.splitlines()]
    assert [event["id"] for event in events] == list(range(3, 3 + len(events)))
    assert events[-1]["event"] == "end"
    beyond = home.llorch("jobs", "watch", job["id"], "--after", str(events[-1]["id"])).must()
    assert (beyond.out, "nothing follows" in beyond.err) == ("", True)
    expect_one_job_for_one_key(home)


def expect_one_job_for_one_key(home: Home) -> None:
    ask = (*ASK, "--prompt", "Hello", "--idempotency-key", "order-7", "--detach")
    first, second = (home.llorch(*ask).must().out for _ in range(2))
    assert first == second
    other = home.llorch(*ASK, "--prompt", "Bye", "--idempotency-key", "order-7", "--detach")
    assert "IDEMPOTENCY_MISMATCH" in other.must(1).err


def test_ctrl_c_cancels_and_says_so_once_it_is_true(home: Home) -> None:
    with frozen_worker(home), submitting(home, LONG) as process:
        until_sync(lambda: newest(home, "--status", "dispatched"), what="the job to be sent")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        job = newest(home)
    assert job is not None
    assert (process.returncode, out, job["status"]) == (130, "", "cancelled")
    assert err.splitlines()[-2:] == [
        f"cancelling {job['id']}; Ctrl-C again leaves at once",
        f"{job['id']} cancelled",
    ]
    home.llorch("jobs", "cancel", job["id"]).must()
    home.llorch("jobs", "watch", job["id"], "--quiet").must(1)
    unknown = home.llorch("jobs", "cancel", "job_01j9z3ntk8e1w0v5c6x7y8z9ab", job["id"]).must(3)
    assert job["id"] in unknown.out


def test_time_that_is_up_leaves_a_job_that_is_read_later(home: Home) -> None:
    with frozen_worker(home):
        left = home.llorch(*ASK, "--prompt", LONG, "--timeout", "1").must(124)
        job = newest(home)
        assert job is not None
        assert f"it runs on: llorch jobs watch {job['id']} --after" in left.err
        assert job["status"] in ("dispatched", "running")
        assert home.llorch("jobs", "status", job["id"], "--why").must().out
    assert home.llorch("jobs", "watch", job["id"]).must().out == ANSWERS[LONG] + "\n"


def test_a_detached_job_is_watched_across_a_restart(home: Home) -> None:
    job = home.llorch(*ASK, "--prompt", LONG, "--detach").must().out.strip()
    home.llorch("orchestrator", "stop").must()
    stopped = home.llorch("jobs", "watch", job).must(5)
    assert "start orchestratord with: llorch orchestrator start (UNREACHABLE)" in stopped.err
    home.llorch("orchestrator", "start").must()
    assert home.llorch("jobs", "watch", job).must().out == ANSWERS[LONG] + "\n"
