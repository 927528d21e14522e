"""An orchestrator that is killed in the middle of work loses nothing and repeats nothing."""

import json
import os
import signal
from pathlib import Path

import httpx
import psutil
import pytest

from support.events import RawEvent, api, events_of, submit, text_of
from support.home import Home
from support.waiting import until_sync

pytestmark = pytest.mark.e2e

CHAT: dict[str, str] = json.loads(
    (Path(__file__).parents[1] / "support/answers.json").read_text("utf-8")
)["tiny-chat"]

LONG = "Count to one hundred"
WAITING = 20
FREEZE_TRIES = 20
TERMINAL = ("end", "error")


def test_no_job_is_lost_or_doubled_when_the_orchestrator_is_killed(home: Home) -> None:
    prompts = [prompt for prompt in CHAT if prompt != LONG and "[" not in prompt][:WAITING]
    home.llorch("jobs", "submit", "--model", "tiny-chat", "--prompt", "Hello").must()
    (worker,) = home.workers()

    with api(home) as client:
        long_job, before = _freeze_in_mid_answer(client, worker)
        waiting = {submit(client, prompt): prompt for prompt in prompts}

    states = {job["id"]: job["status"] for job in _jobs(home)}
    assert [job for job, status in states.items() if status == "running"] == [long_job]
    assert {states[job] for job in waiting} == {"queued"}

    os.kill(home.pid("orchestratord"), signal.SIGKILL)
    until_sync(lambda: not _alive(home, "orchestratord"), what="the killed orchestrator to be gone")
    home.llorch("orchestrator", "start").must()
    worker.resume()

    with api(home) as client:
        after = list(events_of(client, long_job))
        assert [event.raw for event in after[: len(before)]] == [event.raw for event in before]
        assert [event.id for event in after] == list(range(1, len(after) + 1))
        assert sum(event.kind in TERMINAL for event in after) == 1
        assert text_of(after) == CHAT[LONG]
        for job, prompt in waiting.items():
            events = list(events_of(client, job))
            assert text_of(events) == CHAT[prompt]
            assert [event.kind for event in events if event.kind in TERMINAL] == ["end"]
    assert {job["status"] for job in _jobs(home)} == {"completed"}


def _freeze_in_mid_answer(
    client: httpx.Client, worker: psutil.Process
) -> tuple[str, list[RawEvent]]:
    """Stop the worker at its first token event; it is fast, so it may take a few tries."""
    for _ in range(FREEZE_TRIES):
        job = submit(client, LONG)
        seen: list[RawEvent] = []
        for event in events_of(client, job):
            seen.append(event)
            if event.kind == "token":
                os.kill(worker.pid, signal.SIGSTOP)
                break
        # What had left the worker before it was stopped is taken in before this one is admitted.
        probe = submit(client, "Ping")
        if client.get(f"/v2/tasks/{job}").json()["status"] == "running":
            assert client.get(f"/v2/tasks/{probe}").json()["status"] == "queued"
            return job, seen
        worker.resume()
    raise AssertionError(f"the answer was over before the worker was frozen, {FREEZE_TRIES} times")


def _jobs(home: Home) -> list[dict[str, str]]:
    listed = home.llorch("jobs", "list", "--limit", "100", "--format", "json").must().json()
    assert isinstance(listed, list)
    return listed


def _alive(home: Home, daemon: str) -> bool:
    pid = home.pid(daemon)
    return any(process.pid == pid for process in home.processes())
