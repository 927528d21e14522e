"""llorch jobs submit: everything a job may say, from flags, files and stdin, handed in once."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from llorch_ctl.commands.jobs.following import Follower, attend
from llorch_ctl.commands.jobs.views import TextView
from orchestrator_core.clients.orchestrator import OrchestratorClient
from orchestrator_core.clients.resume import Resume
from orchestrator_core.console.render import Output
from orchestrator_core.errors import LlorchError
from support.fake_orchestrator import JOB_ID, FakeOrchestrator, job

Run = Callable[..., Result]

ASK = ("jobs", "submit", "--model", "tiny-chat")
SUBMIT = (*ASK, "--prompt", "Hello")
TASKS = ("POST", "/v2/tasks")
PATH = f"/v2/tasks/{JOB_ID}"
PROGRAM = Path(sys.executable).parent / "llorch"


def body(fake: FakeOrchestrator) -> Any:
    return fake.last(*TASKS).body


def test_every_field_of_a_job_has_its_flag(
    fake: FakeOrchestrator, run: Run, tmp_path: Path
) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text('{"type": "object"}')
    result = run(
        *SUBMIT, "--top-k", "5", "--min-p", "0.1", "--repetition-penalty", "1.1", "--stop", "a",
        "--stop", "b", "--response-format", str(schema), "--deadline", "90s", "--pin-pool", "p1",
        "--metadata", "who=me", "--metadata", "why=a=b", "--cancel-on-disconnect", "--detach",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    wanted = {
        "top_k": 5, "min_p": 0.1, "repetition_penalty": 1.1, "stop": ["a", "b"],
        "response_format": {
            "type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}},
        },
        "deadline_ms": 90_000, "pin": {"pool": "p1"}, "metadata": {"who": "me", "why": "a=b"},
        "cancel_on_disconnect": True,
    }  # fmt: skip
    assert body(fake).items() >= wanted.items()


def test_json_is_a_response_format_and_so_is_a_whole_one(
    fake: FakeOrchestrator, run: Run, tmp_path: Path
) -> None:
    assert run(*SUBMIT, "--response-format", "json", "--detach").exit_code == 0
    assert body(fake)["response_format"] == {"type": "json_object"}
    whole: dict[str, object] = {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}}
    path = tmp_path / "whole.json"
    path.write_text(json.dumps(whole))
    assert run(*SUBMIT, "--response-format", str(path), "--detach").exit_code == 0
    assert body(fake)["response_format"] == whole


def test_text_on_stdin_is_the_prompt_when_no_flag_asks(fake: FakeOrchestrator, run: Run) -> None:
    assert run(*ASK, "--detach", stdin="two\nlines\n").exit_code == 0
    assert body(fake)["prompt"] == "two\nlines\n"
    assert run(*SUBMIT, "--detach", stdin="not read").exit_code == 0
    assert body(fake)["prompt"] == "Hello"


def test_a_system_text_stands_before_the_question(fake: FakeOrchestrator, run: Run) -> None:
    assert run(*SUBMIT, "--system", "Be brief.", "--detach").exit_code == 0
    assert body(fake)["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
    ]
    assert "prompt" not in body(fake)


@pytest.mark.parametrize("shape", ["array", "lines"])
def test_messages_come_from_a_file_or_stdin(
    fake: FakeOrchestrator, run: Run, tmp_path: Path, shape: str
) -> None:
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"}]
    turns.append({"role": "user", "content": "Go on"})
    text = json.dumps(turns) if shape == "array" else "\n".join(map(json.dumps, turns)) + "\n\n"
    path = tmp_path / "talk"
    path.write_text(text)
    assert run(*ASK, "--messages", str(path), "--detach").exit_code == 0
    assert body(fake)["messages"] == turns
    assert run(*ASK, "--messages", "-", "--system", "S", "--detach", stdin=text).exit_code == 0
    assert body(fake)["messages"] == [{"role": "system", "content": "S"}, *turns]


@pytest.mark.parametrize(
    ("args", "stdin", "words"),
    [
        ((), "", "--prompt TEXT"),
        (("-p", "x", "--messages", "-"), "[]", "give one"),
        (("-p", "x", "--raw", "--system", "s"), "", "--raw"),
        (("--messages", "-"), "[]", "no messages"),
        (("--messages", "-"), "[1]", "no messages"),
        (("--messages", "-"), '{"role": "user", "content": "x"}\n{', "line 2 of stdin"),
        (("--messages", "-"), '[{"role": "king", "content": "x"}]', "0.role"),
        (("--messages", "nowhere.json"), "", "nowhere.json cannot be read"),
        (("--messages", "-", "--system", "s"), '[{"role": "system", "content": "x"}]', "already"),
        (("-p", "-"), b"\xff", "not UTF-8"),
        (("-p", "-"), b"x" * (1 << 20) + b"x", "over 1 MiB"),
        (("-p", "x", "--metadata", "plain"), "", "NAME=VALUE"),
        (("-p", "x", "--metadata", "a=1", "--metadata", "a=2"), "", "twice"),
        (("-p", "x", "--deadline", "soon"), "", "90s"),
        (("-p", "x", "--deadline", "8d"), "", "--deadline"),
        (("-p", "x", "--deadline", "0s"), "", "--deadline"),
        (("-p", "x", "--top-k", "-1"), "", "--top-k"),
        (("-p", "x", "--stop", ""), "", "--stop"),
        (("-p", "x", "--pin-pool", ""), "", "--pin-pool"),
        (("-p", "x", "--timeout", "0"), "", "--timeout"),
        (("-p", "x", "--timeout", "1e300"), "", "--timeout"),
        (("-p", "x", "--idempotency-key", ""), "", "--idempotency-key"),
        (("-p", "x", "--idempotency-key", "a b"), "", "--idempotency-key"),
        (("-p", "x", "--idempotency-key", "\u00e4"), "", "--idempotency-key"),
        (("-p", "x", "--metadata", "a=\udcff"), "", "--metadata"),
        (("-p", "x", "--url", "nothing"), "", "--url"),
        (("-p", "", "--system", "s"), "", "--prompt"),
        (("--messages", "-", "--raw"), '[{"role": "user", "content": "x"}]', "--raw takes"),
        (("-p", "x", "--response-format", "nowhere"), "", "nowhere cannot be read"),
    ],
)
def test_what_cannot_be_a_job_is_wrong_usage_before_any_call(
    fake: FakeOrchestrator, run: Run, args: tuple[str, ...], stdin: str | bytes, words: str
) -> None:
    result = run(*ASK, *args, stdin=stdin)
    assert result.exit_code == 2, result.output
    assert words in result.stderr
    assert fake.asked == []


def test_a_lost_answer_is_asked_for_again_under_one_key(fake: FakeOrchestrator, run: Run) -> None:
    fake.lost["POST /v2/tasks"] = 2
    result = run(*SUBMIT)
    assert (result.exit_code, result.stdout) == (0, "Hello!\n")
    assert result.stderr.count("closed the connection; trying again") == 1
    keys = [asked.headers["idempotency-key"] for asked in fake.asked if asked.method == "POST"]
    assert len(keys) == 3
    assert len(set(keys)) == 1
    assert run(*SUBMIT, "--detach").exit_code == 0
    assert fake.last(*TASKS).headers["idempotency-key"] != keys[0]


def test_ones_own_idempotency_key_is_passed_on(fake: FakeOrchestrator, run: Run) -> None:
    assert run(*SUBMIT, "--idempotency-key", "order-7", "--detach").exit_code == 0
    assert fake.last(*TASKS).headers["idempotency-key"] == "order-7"


def test_time_that_is_up_leaves_the_job_and_says_how_to_go_on(
    fake: FakeOrchestrator, run: Run
) -> None:
    fake.events, fake.hold = fake.events[:3], True
    result = run(*SUBMIT, "--timeout", "0.5", "--quiet")
    assert (result.exit_code, result.stdout) == (124, "Hel")
    assert result.stderr == (
        f"error: {JOB_ID} has not ended in time; "
        f"it runs on: llorch jobs watch {JOB_ID} --after 3 (TIMEOUT)\n"
    )
    assert fake.count("DELETE", PATH) == 0


def test_a_daemon_that_stays_away_leaves_the_job_and_says_how_to_go_on(
    fake: FakeOrchestrator, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.refusals[f"GET {PATH}/events"] = (503, "DRAINING", "going down")
    out = Output()
    with OrchestratorClient(fake.url, "k", resume=Resume(give_up_s=0)) as client:
        follower = Follower(client, JOB_ID, out, TextView(out), after=4)
        with pytest.raises(LlorchError, match="going down"):
            attend(follower, out, timeout_s=None, on_interrupt=pytest.fail)
    assert capsys.readouterr().err == (
        f"warning: {JOB_ID} does not need this command: llorch jobs watch {JOB_ID} --after 4\n"
    )


def test_a_job_that_is_cancelled_with_the_command_is_not_said_to_run_on(
    fake: FakeOrchestrator, run: Run
) -> None:
    fake.events, fake.hold = fake.events[:3], True
    result = run(*SUBMIT, "--timeout", "0.5", "--quiet", "--cancel-on-disconnect")
    assert result.exit_code == 124
    assert result.stderr == f"error: {JOB_ID} has not ended in time; leaving cancels it (TIMEOUT)\n"


def test_time_that_is_up_before_the_answer_says_how_to_find_out(
    fake: FakeOrchestrator, run: Run
) -> None:
    fake.silent = "POST /v2/tasks"
    result = run(*SUBMIT, "--timeout", "0.3", "--idempotency-key", "mine")
    assert result.exit_code == 124
    assert "--idempotency-key mine finds it" in result.stderr
    assert "error: no answer came in time (TIMEOUT)" in result.stderr


def interrupt(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGINT)


def start(env: dict[str, str], *args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [PROGRAM, *SUBMIT, *args],
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_second_ctrl_c_leaves_at_once_and_says_that_the_job_may_run_on(
    fake: FakeOrchestrator, env: dict[str, str]
) -> None:
    fake.events, fake.hold, fake.silent = fake.events[:3], True, f"DELETE {PATH}"
    with start(env) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(3) == "Hel"
        interrupt(process)
        talk = ""
        while "Ctrl-C again" not in talk:
            talk = process.stderr.readline()
        assert fake.in_silence.wait(10)
        interrupt(process)
        assert process.wait(20) == 130
        rest = process.stderr.read()
    assert rest == (
        f"warning: left without an answer: {JOB_ID} may run on; llorch jobs status {JOB_ID}\n"
    )


def test_ctrl_c_after_the_end_says_how_the_job_had_ended(
    fake: FakeOrchestrator, env: dict[str, str]
) -> None:
    fake.events, fake.hold = fake.events[:3], True
    ended = job(status="completed", ended_at="2026-01-01T00:00:01.000Z")
    fake.raw[f"DELETE {PATH}"] = (200, json.dumps(ended))
    with start(env) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(3)
        interrupt(process)
        assert process.wait(20) == 130
        assert f"{JOB_ID} had already ended: completed" in process.stderr.read()


def test_ctrl_c_before_the_answer_says_how_to_find_out(
    fake: FakeOrchestrator, env: dict[str, str]
) -> None:
    fake.silent = "POST /v2/tasks"
    with start(env, "--idempotency-key", "mine") as process:
        assert process.stderr is not None
        assert fake.in_silence.wait(10)
        interrupt(process)
        assert process.wait(20) == 130
        assert "--idempotency-key mine finds it" in process.stderr.read()


def test_a_reader_that_leaves_does_not_cancel_the_job(
    fake: FakeOrchestrator, env: dict[str, str]
) -> None:
    fake.events = [*fake.events[:2], *fake.events[2:3] * 4000]
    with start(env) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1)
        process.stdout.close()
        assert process.wait(20) == 1
        assert "rror" not in process.stderr.read()
    assert fake.count("DELETE", PATH) == 0
