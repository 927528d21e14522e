"""A job that waits: a person who follows it hears why, and again only when the reason changes."""

import json
from collections.abc import Iterator

import httpx
import pytest

from llorch_ctl.commands.jobs.following import Follower
from llorch_ctl.commands.jobs.views import EventLines, FollowView, TextView
from orchestrator_core.clients.orchestrator import OrchestratorClient
from orchestrator_core.console.render import Format, Output
from orchestrator_core.stream import sse
from support.fake_orchestrator import JOB_ID, job

KEEPALIVE = sse.comment("waiting")
QUEUED = sse.encode(event="queued", data=json.dumps({"queue_position": 1}), id=1)
STARTED = sse.encode(event="started", data=json.dumps({"attempt": 1}), id=2)
END = sse.encode(event="end", data=json.dumps({"tokens_out": 0}), id=3)


class Pieces(httpx.SyncByteStream):
    """A body that comes in these pieces and no others."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        yield from self._pieces


def follow(pieces: Pieces, whys: list[list[str]], view: FollowView, out: Output) -> list[str]:
    """Follow a job whose stream is made of pieces; the reasons are asked for one by one."""
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/events"):
            return httpx.Response(200, stream=pieces)
        asked.append(request.url.path)
        if not whys:
            return httpx.Response(500, json={})
        return httpx.Response(200, json=job(status="queued", why=whys.pop(0)))

    with OrchestratorClient("http://o", "k", transport=httpx.MockTransport(answer)) as client:
        assert Follower(client, JOB_ID, out, view).run() == 0
    return asked


def test_why_it_waits_is_told_once_for_each_reason(capsys: pytest.CaptureFixture[str]) -> None:
    pieces = Pieces(QUEUED, KEEPALIVE, KEEPALIVE, KEEPALIVE, STARTED, KEEPALIVE, END)
    full, loads = ["waits at place 1", "no slot is free"], ["its model loads"]
    out = Output()
    asked = follow(pieces, [full, full, loads], TextView(out), out)
    assert capsys.readouterr().err == (
        f"{JOB_ID} queued, position 1\n"
        f"{JOB_ID} waits at place 1; no slot is free\n"
        f"{JOB_ID} its model loads\n"
        "attempt 1 runs on None\n"
    )
    # Once it runs there is nothing to ask.
    assert len(asked) == 3


def test_reasons_that_cannot_be_read_do_not_end_the_waiting(
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = Output()
    follow(Pieces(QUEUED, KEEPALIVE, STARTED, END), [], TextView(out), out)
    assert "error" not in capsys.readouterr().err


def test_nobody_asks_why_for_a_program(capsys: pytest.CaptureFixture[str]) -> None:
    out = Output(Format.JSON)
    assert follow(Pieces(QUEUED, KEEPALIVE, STARTED, END), [], EventLines(out), out) == []
    assert len(capsys.readouterr().out.splitlines()) == 3
