"""What is wrong is said in one line, with the documented status or exit code, never a traceback."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from support.events import api
from support.home import Finished, Home

pytestmark = pytest.mark.e2e


def one_clear_line(done: Finished, code: int, *words: str) -> None:
    done.must(code)
    assert "Traceback" not in done.err
    lines = done.err.strip().splitlines()
    assert len(lines) == 1, done.err
    for word in words:
        assert word in lines[0]


def test_an_unknown_model_is_refused_with_the_nearest_names(home: Home) -> None:
    done = home.llorch("jobs", "submit", "--model", "tiny-chta", "--prompt", "Hello")

    one_clear_line(done, 3, "MODEL_NOT_FOUND", "tiny-chat")
    with api(home) as client:
        reply = client.post("/v2/tasks", json={"model": "nope", "prompt": "x"})
    assert reply.status_code == 404
    assert reply.json()["error"]["code"] == "MODEL_NOT_FOUND"


def test_bad_requests_get_status_code_and_one_line(home: Home) -> None:
    with api(home) as client:
        priority = client.post(
            "/v2/tasks", json={"model": "tiny-chat", "prompt": "x", "priority": "urgent"}
        )
        not_json = client.post("/v2/tasks", content=b"model=tiny-chat")
        no_key = httpx.get(f"{home.url}/v2/tasks", trust_env=False)
        bad_key = httpx.get(
            f"{home.url}/v2/tasks", headers={"Authorization": "Bearer x"}, trust_env=False
        )
        nowhere = client.get("/v2/nothing")

    assert [reply.status_code for reply in (priority, not_json, no_key, bad_key, nowhere)] == [
        400, 400, 401, 401, 404,
    ]  # fmt: skip
    codes = [
        reply.json()["error"]["code"] for reply in (priority, not_json, no_key, bad_key, nowhere)
    ]
    assert codes == ["INVALID_REQUEST", "INVALID_REQUEST", "NO_KEY", "BAD_KEY", "NOT_FOUND"]
    for reply in (priority, not_json, no_key, bad_key, nowhere):
        assert "\n" not in reply.json()["error"]["message"]
    assert "priority" in priority.json()["error"]["message"]


def test_a_bad_priority_is_a_usage_error_of_the_command(home: Home) -> None:
    done = home.llorch(
        "jobs", "submit", "--model", "tiny-chat", "--prompt", "x", "--priority", "urgent"
    )

    done.must(2)
    assert "urgent" in done.err
    assert "Traceback" not in done.err


def test_a_command_without_a_daemon_says_how_to_start_it(empty_home: Home) -> None:
    done = empty_home.llorch("jobs", "list")

    one_clear_line(done, 5, "llorch")


def test_a_port_in_use_names_its_holder(empty_home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as squatter:
        port = squatter.getsockname()[1]
        done = _orchestratord(empty_home, "--bind", f"127.0.0.1:{port}")

        one_clear_line(done, 78, str(port), str(os.getpid()))
        started = empty_home.llorch("orchestrator", "start", "--bind", f"127.0.0.1:{port}")
        started.must(1)
        assert str(os.getpid()) in started.err
        assert "Traceback" not in started.err


def test_a_second_daemon_on_the_same_data_is_refused(home: Home) -> None:
    done = _orchestratord(home, "--bind", "127.0.0.1:0")

    one_clear_line(done, 78, str(home.pid("orchestratord")))


def test_an_open_network_needs_a_word(empty_home: Home) -> None:
    done = _orchestratord(empty_home, "--bind", "0.0.0.0:0")

    one_clear_line(done, 78, "--insecure-lan")


def _orchestratord(home: Home, *args: str) -> Finished:
    argv = (str(Path(sys.executable).parent / "orchestratord"), *args)
    done = subprocess.run(
        argv, env=home.env, capture_output=True, text=True, timeout=30, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return Finished(("orchestratord", *args), done.returncode, done.stdout, done.stderr)
