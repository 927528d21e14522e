"""A scripted orchestrator for the commands about jobs, and a way to run them against it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from llorch_ctl.main import cli
from support.fake_orchestrator import JOB_ID, FakeOrchestrator, answer, fake_orchestrator

Run = Callable[..., Result]

QUEUED = ("queued", {"job_id": JOB_ID, "queue_position": 2})
STARTED = ("started", {"attempt": 1, "worker_id": "wrk_1", "worker_name": "tiny-chat-1"})
END = ("end", {"tokens_out": 2, "stop_reason": "stop"})


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


@pytest.fixture
def run(env: dict[str, str]) -> Run:
    def call(*args: str, stdin: str | bytes | None = None) -> Result:
        return CliRunner().invoke(cli, args, env=env, input=stdin)

    return call
