"""llorch jobs watch: from any event on, as text or as a line per event, and never in the way."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from orchestrator_core.stream import sse
from support.fake_orchestrator import JOB_ID, FakeOrchestrator, answer, job

Run = Callable[..., Result]

WATCH = ("jobs", "watch", JOB_ID)
PATH = f"/v2/tasks/{JOB_ID}"
GAP = b'event: gap\ndata: {"from": 2, "to": 8}\n\n'


def test_prints_the_answer_again_from_its_beginning(fake: FakeOrchestrator, run: Run) -> None:
    result = run(*WATCH)
    assert (result.exit_code, result.stdout) == (0, "Hello!\n")
    assert fake.count("POST", "/v2/tasks") == 0


def test_goes_on_behind_an_event(fake: FakeOrchestrator, run: Run) -> None:
    result = run(*WATCH, "--after", "3")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "lo!\n", "")
    assert fake.last("GET", f"{PATH}/events").headers["last-event-id"] == "3"


def test_json_is_one_line_for_each_event_with_its_id(fake: FakeOrchestrator, run: Run) -> None:
    fake.cuts = [3]
    result = run(*WATCH, "--format", "json", "--after", "2", "--quiet")
    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        {"id": 3, "event": "token", "data": {"t": "Hel", "i": 0, "n": 1}},
        {"id": 4, "event": "token", "data": {"t": "lo!", "i": 1, "n": 1}},
        {"id": 5, "event": "end", "data": {"tokens_out": 2, "stop_reason": "stop"}},
    ]


def test_deleted_events_are_named_and_told_once(fake: FakeOrchestrator, run: Run) -> None:
    queued = sse.encode(event="queued", data="{}", id=1)
    end = sse.encode(event="end", data="{}", id=9)
    fake.raw[f"GET {PATH}/events"] = (200, (queued + GAP + GAP + end).decode())
    result = run(*WATCH)
    assert (result.exit_code, result.stdout) == (0, "")
    gone = "warning: events 2 to 8 are gone: they were older than the retention time\n"
    assert result.stderr == f"{JOB_ID} queued\n{gone}"
    lines = run(*WATCH, "--format", "json").stdout.splitlines()
    assert [json.loads(line)["id"] for line in lines] == [1, None, 9]
    assert json.loads(lines[1]) == {"id": None, "event": "gap", "data": {"from": 2, "to": 8}}


def test_exit_code_is_that_of_the_jobs_end(fake: FakeOrchestrator, run: Run) -> None:
    fake.events[-1] = ("error", {"code": "MODEL_NOT_FOUND", "message": "gone"})
    result = run(*WATCH, "--quiet")
    assert (result.exit_code, result.stdout) == (3, "Hello!\n")
    assert result.stderr == "error: gone (MODEL_NOT_FOUND)\n"
    assert run(*WATCH, "--quiet", "--format", "json").exit_code == 3


def test_behind_the_last_event_there_is_only_how_it_ended(fake: FakeOrchestrator, run: Run) -> None:
    fake.raw[f"GET {PATH}/events"] = (200, ": hello\n\n")
    fake.jobs = [job(ended_at="2026-01-01T00:00:01.000Z")]
    result = run(*WATCH, "--after", "5")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"{JOB_ID} has ended (completed); nothing follows event 5\n"
    failed = {"status": "failed", "error_code": "POISON", "error_message": "bad luck"}
    fake.jobs = [job(ended_at="2026-01-01T00:00:01.000Z", **failed)]
    result = run(*WATCH, "--after", "5", "--quiet")
    assert (result.exit_code, result.stderr) == (1, "error: bad luck (POISON)\n")


def test_an_unknown_job_is_not_found(fake: FakeOrchestrator, run: Run) -> None:
    fake.refusals[f"GET {PATH}/events"] = (404, "JOB_NOT_FOUND", f"there is no job {JOB_ID}")
    result = run(*WATCH)
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr == f"error: there is no job {JOB_ID} (JOB_NOT_FOUND)\n"


def test_what_no_patience_cures_is_told_before_anything_is_followed(
    fake: FakeOrchestrator, run: Run
) -> None:
    fake.refusals[f"GET {PATH}"] = (503, "DRAINING", "going down")
    result = run(*WATCH)
    assert (result.exit_code, result.stdout) == (5, "")
    assert fake.count("GET", f"{PATH}/events") == 0


def test_a_key_that_is_revoked_meanwhile_is_refused(fake: FakeOrchestrator, run: Run) -> None:
    fake.cuts = [3]
    fake.refuse_next_stream = (401, "BAD_KEY", "this key is revoked")
    result = run(*WATCH)
    assert (result.exit_code, result.stdout) == (4, "Hel")
    assert "error: this key is revoked (BAD_KEY)" in result.stderr


def test_a_new_attempt_in_front_of_the_place_is_printed_whole(
    fake: FakeOrchestrator, run: Run
) -> None:
    attempt = ("attempt", {"attempt": 2, "reason": "WORKER_LOST", "keep_tokens": 0})
    fake.events[4:4] = [attempt, *answer("Hel", "lo!")]
    result = run(*WATCH, "--after", "3")
    assert result.stdout == "lo!\nHello!\n"
    assert "attempt 2: WORKER_LOST; it begins anew" in result.stderr
    assert "begins in front of what was skipped" in result.stderr


def test_ctrl_c_leaves_the_job_alone_and_says_how_to_go_on(
    fake: FakeOrchestrator, env: dict[str, str]
) -> None:
    fake.events, fake.hold = fake.events[:3], True
    program = Path(sys.executable).parent / "llorch"
    with subprocess.Popen(
        [program, *WATCH], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(3) == "Hel"
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        talk = process.stderr.read()
    assert f"no longer watching {JOB_ID}; go on with: llorch jobs watch {JOB_ID} --after 3" in talk
    assert fake.count("DELETE", PATH) == 0


def test_time_that_is_up_ends_with_124(fake: FakeOrchestrator, run: Run) -> None:
    fake.events, fake.hold = fake.events[:3], True
    result = run(*WATCH, "--timeout", "0.5", "--format", "json", "--quiet")
    assert result.exit_code == 124
    assert len(result.stdout.splitlines()) == 3
    # Whether the job runs on without us, only who handed it in knows.
    what_next = f"go on with: llorch jobs watch {JOB_ID} --after 3 (TIMEOUT)"
    assert f"{JOB_ID} has not ended in time; {what_next}" in result.stderr


@pytest.mark.parametrize("verb", ["watch", "status", "cancel"])
@pytest.mark.parametrize("word", ["", "..", "a/b", "a?b", "a\udcffb", "x" * 65])
def test_what_can_be_no_id_is_wrong_usage_before_any_call(
    fake: FakeOrchestrator, run: Run, verb: str, word: str
) -> None:
    result = run("jobs", verb, word)
    assert result.exit_code == 2
    assert "is no id of a job; llorch jobs list shows them" in result.stderr
    assert fake.asked == []
