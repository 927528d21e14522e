"""What the log of a real daemon tells: every change of a job by its ids, and no word of anybody."""

import json
from pathlib import Path
from typing import Any, Final

import psutil
import pytest

from support.disk_drill import DiskDrill
from support.event_streams import EventStream
from support.fake_engine import FakeEngine
from support.small_disk import SmallDisk
from support.waiting import until

CANARY: Final = "canary-" + "q7" * 8
_SCHEMA: Final = {
    "type": "json_schema",
    "json_schema": {"name": CANARY, "schema": {"title": CANARY, "type": "object"}},
}
_TALK: Final = [
    {"role": "system", "content": f"system {CANARY}"},
    {"role": "user", "content": f"user {CANARY}"},
]
_JOBS: Final[tuple[dict[str, Any], ...]] = (
    {"prompt": CANARY, "metadata": {"note": CANARY}},
    {"messages": _TALK, "stop": [CANARY]},
    {"messages": _TALK, "response_format": _SCHEMA},
)


@pytest.fixture
def drill(tmp_path: Path) -> DiskDrill:
    return DiskDrill(SmallDisk(tmp_path), tmp_path / "log", headers_after_s=0.05)


def command_lines() -> str:
    """What everybody on this machine can read of its processes."""
    return "\n".join(" ".join(found.info["cmdline"] or ()) for found in processes())


def processes() -> list[psutil.Process]:
    """All processes that still tell of themselves."""
    return list(psutil.process_iter(["cmdline"]))


async def test_no_log_and_no_command_line_tells_what_was_asked_or_answered(
    drill: DiskDrill,
) -> None:
    async with FakeEngine.listening() as engine, drill.life():
        await drill.register(engine.port)
        for body in _JOBS:
            reply = await drill.client.post("/v2/tasks", json={"model": "tiny-chat", **body})
            assert reply.status_code == 202, reply.text
            await (await engine.next_call()).answer(f"answer {CANARY}")
            assert (await drill.ended(reply.json()["job_id"]))["status"] == "completed"
        await ask_in_vain(drill, engine)
        chat = {"model": "tiny-chat", "messages": _TALK, "stream": True, "user": CANARY}
        async with drill.client.stream("POST", "/v1/chat/completions", json=chat) as response:
            await (await engine.next_call()).answer(CANARY)
            assert CANARY in "".join(told.data for told in await EventStream(response).rest())
        bad = await drill.client.post("/v2/tasks", json={"model": CANARY, CANARY: CANARY})
        assert bad.status_code in (400, 404)
        assert CANARY not in command_lines()
        await until(lambda: drill.told("call.ended"), what="the line of the call")
        drill.stop()
    log = drill.log()
    assert "job.finished" in log
    assert CANARY not in log


async def ask_in_vain(drill: DiskDrill, engine: FakeEngine) -> None:
    """Ask for a job that the engine refuses with a message that repeats the prompt."""
    body = {"model": "tiny-chat", "prompt": CANARY}
    job_id = (await drill.client.post("/v2/tasks", json=body)).json()["job_id"]
    error = {"error": {"code": 400, "message": f"cannot do {CANARY}", "type": "invalid_request"}}
    await (await engine.next_call()).refuse(400, error)
    assert (await drill.ended(job_id))["status"] == "failed"


async def test_a_job_can_be_followed_through_the_log_by_its_ids(drill: DiskDrill) -> None:
    async with FakeEngine.listening() as engine, drill.life():
        await drill.register(engine.port)
        body = {"model": "tiny-chat", "prompt": "Hello"}
        headers = {"x-correlation-id": "my-own-mark"}
        reply = await drill.client.post("/v2/tasks", json=body, headers=headers)
        job_id = reply.json()["job_id"]
        await (await engine.next_call()).answer("Hi")
        await drill.ended(job_id)
        drill.stop()
    lines = [json.loads(line) for line in drill.log().splitlines()]
    ours = [line for line in lines if line.get("job_id") == job_id]
    told = [line["event"] for line in ours]
    assert told == ["job.admitted", "job.dispatched", "job.running", "job.finished"]
    admitted, dispatched, _, finished = ours
    assert admitted["correlation_id"] == "my-own-mark"
    assert (dispatched["pool"], dispatched["attempt"]) == ("home", 1)
    assert dispatched["worker"].startswith("wrk_")
    assert (finished["status"], finished["tokens_out"]) == ("completed", 1)
    assert {line["level"] for line in ours} == {"info"}
