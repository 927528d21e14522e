"""llorch jobs against a scripted orchestrator: data, talk and exit codes."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from llorch_ctl.commands.jobs.words import PRIORITIES, STATUSES
from llorch_ctl.main import cli
from orchestrator_core.contracts.tasks import JobStatus, Priority
from orchestrator_core.errors import OUTCOMES, Code, Exit
from support.fake_orchestrator import JOB_ID, FakeOrchestrator, answer, fake_orchestrator, job

SUBMIT = ("jobs", "submit", "--model", "tiny-chat", "--prompt", "Hello")
QUEUED = ("queued", {"job_id": JOB_ID, "queue_position": 2})
STARTED = ("started", {"attempt": 1, "worker_id": "wrk_1", "worker_name": "tiny-chat-1"})
END = ("end", {"tokens_out": 2, "stop_reason": "stop"})
PATH = f"/v2/tasks/{JOB_ID}"


@pytest.fixture
def fake() -> Iterator[FakeOrchestrator]:
    with fake_orchestrator(events=[QUEUED, STARTED, *answer("Hel", "lo!"), END]) as served:
        yield served


@pytest.fixture
def env(fake: FakeOrchestrator, tmp_path: Path) -> dict[str, str]:
    return {
        "LLORCH_HOME": str(tmp_path),
        "LLORCH_ORCHESTRATOR_URL": fake.url,
        "LLORCH_API_KEY": "k1",
    }


def run(env: dict[str, str], *args: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(cli, args, env=env, input=stdin)


def test_streams_the_answer_to_stdout_and_talks_on_stderr(
    fake: FakeOrchestrator, env: dict[str, str]
) -> None:
    result = run(env, *SUBMIT)
    assert (result.exit_code, result.stdout) == (0, "Hello!\n")
    assert result.stderr == f"{JOB_ID} queued, position 2\nattempt 1 runs on tiny-chat-1\n"
    assert fake.last("POST", "/v2/tasks").headers["authorization"] == "Bearer k1"
    assert run(env, *SUBMIT, "--quiet").stderr == ""


def test_passes_every_option_on(fake: FakeOrchestrator, env: dict[str, str]) -> None:
    options = (
        "--max-tokens", "9", "--temperature", "0", "--top-p", "0.5", "--seed", "4",
        "--priority", "batch", "--session", "s1", "--raw",
    )  # fmt: skip
    assert run(env, *SUBMIT, *options).exit_code == 0
    body = fake.last("POST", "/v2/tasks").body
    wanted = {
        "model": "tiny-chat", "prompt": "Hello", "max_tokens": 9, "temperature": 0.0,
        "top_p": 0.5, "seed": 4, "priority": "batch", "session_id": "s1", "raw": True,
    }  # fmt: skip
    assert body.items() >= wanted.items()


def test_reads_the_prompt_from_stdin(fake: FakeOrchestrator, env: dict[str, str]) -> None:
    args = ("jobs", "submit", "-m", "tiny-chat", "-p", "-")
    assert run(env, *args, stdin="two\nlines\n").exit_code == 0
    assert fake.last("POST", "/v2/tasks").body["prompt"] == "two\nlines\n"


def test_goes_on_after_a_cut_without_gap_or_repeat(
    fake: FakeOrchestrator, env: dict[str, str]
) -> None:
    fake.cuts = [3]
    result = run(env, *SUBMIT)
    assert (result.exit_code, result.stdout) == (0, "Hello!\n")
    assert "closed the stream before its end; trying again" in result.stderr
    assert fake.last("GET", f"{PATH}/events").headers["last-event-id"] == "3"


def test_one_outage_is_told_once(fake: FakeOrchestrator, env: dict[str, str]) -> None:
    fake.cuts = [2, 2, 2]
    result = run(env, *SUBMIT)
    assert (result.exit_code, result.stdout) == (0, "Hello!\n")
    assert result.stderr.count("trying again") == 1


def test_new_attempt_continues_the_printed_answer(
    fake: FakeOrchestrator, env: dict[str, str]
) -> None:
    attempt = ("attempt", {"attempt": 2, "reason": "WORKER_LOST", "keep_tokens": 1})
    fake.events = [*fake.events[:3], attempt, STARTED, *answer("lo!", start=1), END]
    result = run(env, *SUBMIT)
    assert result.stdout == "Hello!\n"
    assert "attempt 2: WORKER_LOST; it goes on behind token 1" in result.stderr


def test_new_attempt_with_another_answer_is_announced(
    fake: FakeOrchestrator, env: dict[str, str]
) -> None:
    attempt = ("attempt", {"attempt": 2, "reason": "WORKER_LOST", "keep_tokens": 0})
    fake.events = [*fake.events[:3], attempt, STARTED, *answer("Good", " day"), END]
    result = run(env, *SUBMIT, "--quiet")
    assert result.stdout == "Hel\nGood day\n"
    assert result.stderr == "warning: the new attempt answers differently; its answer follows\n"


@pytest.mark.parametrize("code", Code)
def test_error_event_ends_with_the_exit_code_of_its_code(
    fake: FakeOrchestrator, env: dict[str, str], code: Code
) -> None:
    error = ("error", {"code": code, "message": "no luck", "retriable": False})
    fake.events = [QUEUED, *answer("Hel"), error]
    result = run(env, *SUBMIT, "--quiet")
    expected = OUTCOMES[code].exit_code
    assert result.exit_code == (Exit.FAILURE if expected is Exit.CONFIG else expected)
    assert (result.stdout, result.stderr) == ("Hel\n", f"error: no luck ({code})\n")


def test_error_event_of_a_newer_daemon_is_a_failure(
    fake: FakeOrchestrator, env: dict[str, str]
) -> None:
    fake.events = [("error", {"code": "FROM_THE_FUTURE", "message": "m"})]
    result = run(env, *SUBMIT, "--quiet")
    assert (result.exit_code, result.stderr) == (1, "error: FROM_THE_FUTURE: m (INTERNAL)\n")


def test_event_that_is_not_json_is_one_clear_line(
    fake: FakeOrchestrator, env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.raw[f"GET {PATH}/events"] = (200, "id: 1\nevent: token\ndata: {\n\n")
    result = run(env, *SUBMIT, "--quiet")
    assert result.exit_code == 1
    assert result.stderr == "error: event 1 of the job's stream is not JSON (INTERNAL)\n"


@pytest.mark.parametrize(
    ("status", "code", "exit_code"),
    [
        (400, "INVALID_REQUEST", 1),
        (401, "BAD_KEY", 4),
        (403, "SCOPE", 4),
        (404, "MODEL_NOT_FOUND", 3),
        (409, "MODEL_NOT_PULLED", 1),
        (429, "QUEUE_FULL", 1),
        (503, "DRAINING", 5),
        (504, "DEADLINE", 124),
    ],
)
def test_refused_submission_has_its_exit_code(
    fake: FakeOrchestrator, env: dict[str, str], status: int, code: str, exit_code: int
) -> None:
    fake.refusals["POST /v2/tasks"] = (status, code, "no luck")
    result = run(env, *SUBMIT)
    assert result.exit_code == exit_code
    later = "; try again in 7 s" if status in (429, 503) else ""
    assert (result.stdout, result.stderr) == ("", f"error: no luck{later} ({code})\n")


@pytest.mark.parametrize(
    "args",
    [
        ("--temperature", "9"), ("--max-tokens", "0"), ("--top-p", "2"), ("--seed", "-1"),
        ("--priority", "urgent"), ("--prompt", ""), ("--model", ""), ("--session", "x" * 200),
    ],
)  # fmt: skip
def test_wrong_value_is_a_usage_error_before_any_call(
    fake: FakeOrchestrator, env: dict[str, str], args: tuple[str, str]
) -> None:
    result = run(env, *SUBMIT, *args)
    assert result.exit_code == 2
    assert args[0] in result.stderr
    assert fake.asked == []


def test_no_daemon_is_named_with_the_command_that_starts_it(tmp_path: Path) -> None:
    env = {"LLORCH_HOME": str(tmp_path), "LLORCH_ORCHESTRATOR_URL": "http://127.0.0.1:9"}
    result = run(env, *SUBMIT)
    assert result.exit_code == 5
    assert result.stderr == (
        "error: nothing answers at http://127.0.0.1:9; "
        "start orchestratord with: llorch orchestrator start (UNREACHABLE)\n"
    )


def test_detached_job_prints_its_id_and_is_not_followed(
    fake: FakeOrchestrator, env: dict[str, str]
) -> None:
    result = run(env, *SUBMIT, "--detach")
    assert (result.exit_code, result.stdout) == (0, f"{JOB_ID}\n")
    assert not any(asked.path.endswith("/events") for asked in fake.asked)
    shown = json.loads(run(env, *SUBMIT, "--detach", "--format", "json").stdout)
    assert shown["job_id"] == JOB_ID


def test_json_shows_the_whole_job_once_it_has_ended(
    fake: FakeOrchestrator, env: dict[str, str]
) -> None:
    result = run(env, *SUBMIT, "--format", "json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["output"] == "Hello!"


def test_list_is_an_array_of_objects_with_ids(fake: FakeOrchestrator, env: dict[str, str]) -> None:
    fake.jobs = [job("job_b"), job("job_a", status="queued")]
    result = run(env, "jobs", "list", "--format", "json")
    assert [item["id"] for item in json.loads(result.stdout)] == ["job_b", "job_a"]
    table = run(env, "jobs", "list").stdout.splitlines()
    assert table[0].split()[:2] == ["ID", "STATUS"]
    assert table[2].split()[:2] == ["job_a", "queued"]
    fake.jobs = []
    assert run(env, "jobs", "list").output == "no jobs\n"


def test_list_passes_filters_and_reads_all_pages_when_asked(
    fake: FakeOrchestrator, env: dict[str, str]
) -> None:
    fake.jobs = [job(f"job_{number}") for number in range(1201)]
    result = run(env, "jobs", "list", "--status", "queued", "--model", "m", "--limit", "2")
    assert len(result.stdout.splitlines()) == 3
    assert result.stderr == "these are the newest 2; --all shows every job\n"
    query = {"status": "queued", "model": "m", "limit": "2"}
    assert fake.last("GET", "/v2/tasks").query == query
    everything = run(env, "jobs", "list", "--all", "--format", "json")
    assert len(json.loads(everything.stdout)) == 1201
    assert fake.count("GET", "/v2/tasks") == 4


def test_status_shows_one_job(fake: FakeOrchestrator, env: dict[str, str]) -> None:
    fake.jobs = [job(status="queued", output=None, why=["the model is loading"])]
    result = run(env, "jobs", "status", JOB_ID)
    assert result.exit_code == 0
    assert "the model is loading" in result.stdout
    missing = run(env, "jobs", "status", "job_nope")
    assert (missing.exit_code, missing.stdout) == (3, "")
    assert missing.stderr == "error: there is no job job_nope (JOB_NOT_FOUND)\n"


def test_status_shows_why_first_and_attempts_as_a_table(
    fake: FakeOrchestrator, env: dict[str, str]
) -> None:
    attempt = {"pool_id": "p", "worker_id": "wrk_1", "started_at": "2026-01-01T00:00:00.000Z"}
    first = {"attempt": 1, "status": "broken", "reason": "WORKER_LOST", "message": "it died"}
    second = {"attempt": 2, "status": "ended", "worker_name": "w-2", "tokens": 9, "kept_tokens": 4}
    reasons = ["waits at place 2", "its worker is loading"]
    fake.jobs = [job(why=reasons, attempts=[attempt | first, attempt | second])]
    lines = run(env, "jobs", "status", JOB_ID).stdout.splitlines()
    assert lines[0].split(maxsplit=1) == ["why", "waits at place 2; its worker is loading"]
    table = lines[lines.index("") + 1 :]
    assert table[0].split() == ["ATTEMPT", "WORKER", "STATUS", "TOKENS", "KEPT", "REASON"]
    assert table[1].split() == ["1", "wrk_1", "broken", "0", "0", "WORKER_LOST:", "it", "died"]
    assert table[2].split() == ["2", "w-2", "ended", "9", "4", "-"]
    assert run(env, "jobs", "status", JOB_ID, "--why").stdout == "\n".join(reasons) + "\n"
    why = json.loads(run(env, "jobs", "status", JOB_ID, "--why", "--format", "json").stdout)
    assert why == {"id": JOB_ID, "status": "completed", "why": reasons}
    fake.jobs = [job()]
    silent = run(env, "jobs", "status", JOB_ID, "--why")
    assert (silent.stdout, silent.stderr) == ("", f"{JOB_ID} is completed: it waits for nothing\n")


def test_cancel_stops_where_the_daemon_fails(fake: FakeOrchestrator, env: dict[str, str]) -> None:
    fake.jobs = [job("job_a"), job("job_b")]
    fake.refusals["DELETE /v2/tasks/job_b"] = (401, "BAD_KEY", "no such key")
    result = run(env, "jobs", "cancel", "job_a", "job_b", "job_c", "job_a")
    assert result.exit_code == 4
    assert result.stdout.splitlines()[1].split()[:2] == ["job_a", "cancelled"]
    assert fake.count("DELETE", "/v2/tasks/job_c") == 0
    assert fake.count("DELETE", "/v2/tasks/job_a") == 1


def test_cancel_does_all_it_can_and_reports_the_rest(
    fake: FakeOrchestrator, env: dict[str, str]
) -> None:
    fake.jobs = [job("job_a"), job("job_b")]
    result = run(env, "jobs", "cancel", "job_a", "job_nope", "job_b", "--format", "json")
    assert result.exit_code == 3
    shown = [(item["id"], item["status"]) for item in json.loads(result.stdout)]
    assert shown == [("job_a", "cancelled"), ("job_b", "cancelled")]
    assert run(env, "jobs", "cancel", "job_a").exit_code == 0
    assert run(env, "jobs", "cancel").exit_code == 2


def test_ctrl_c_cancels_the_job_and_exits_130(fake: FakeOrchestrator, env: dict[str, str]) -> None:
    fake.events, fake.hold = fake.events[:3], True
    program = Path(sys.executable).parent / "llorch"
    with subprocess.Popen(
        [program, *SUBMIT], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        # Three characters without a line end show that every token is flushed at once.
        assert process.stdout.read(3) == "Hel"
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        talk = process.stderr.read()
    assert f"{JOB_ID} cancelled" in talk
    assert "Traceback" not in talk
    assert fake.count("DELETE", PATH) == 1


def test_reader_that_leaves_ends_the_command_silently(
    fake: FakeOrchestrator, env: dict[str, str]
) -> None:
    fake.jobs = [job(f"job_{number}", model="m" * 200) for number in range(400)]
    program = Path(sys.executable).parent / "llorch"
    with subprocess.Popen(
        [program, "jobs", "list", "--all", "--format", "json"],
        env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1)
        process.stdout.close()
        process.wait(20)
        assert process.stderr.read() == ""


def test_words_of_the_help_are_the_words_of_the_contract() -> None:
    assert tuple(Priority) == PRIORITIES
    assert tuple(JobStatus) == STATUSES
