"""Reads a job's event stream the way curl would: raw lines over one connection."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx

from support.home import Home

__all__ = ["RawEvent", "answer_of", "api", "events_of", "submit", "text_of"]


FOLLOW_LIMIT_S = 90.0


@dataclass(frozen=True)
class RawEvent:
    """One event with the bytes it came in."""

    id: int
    kind: str
    data: dict[str, Any]
    raw: str


def api(home: Home, timeout_s: float = 60.0) -> httpx.Client:
    """A client of the home's orchestratord with the admin key."""
    return httpx.Client(
        base_url=home.url,
        headers={"Authorization": f"Bearer {home.key}"},
        timeout=timeout_s,
        trust_env=False,
    )


def submit(client: httpx.Client, prompt: str, model: str = "tiny-chat") -> str:
    """Queue a job and return its id."""
    reply = client.post("/v2/tasks", json={"model": model, "prompt": prompt})
    assert reply.status_code == 202, reply.text
    return str(reply.json()["job_id"])


def events_of(
    client: httpx.Client,
    job: str,
    last_event_id: int | None = None,
    *,
    limit_s: float = FOLLOW_LIMIT_S,
) -> Iterator[RawEvent]:
    """Follow a job until its stream closes; keep-alives must not let a test wait for ever."""
    give_up_at = time.monotonic() + limit_s
    headers = {} if last_event_id is None else {"Last-Event-ID": str(last_event_id)}
    with client.stream("GET", f"/v2/tasks/{job}/events", headers=headers) as reply:
        assert reply.status_code == 200
        block: list[str] = []
        for line in reply.iter_lines():
            assert time.monotonic() < give_up_at, f"{job} did not end within {limit_s} s"
            if line:
                block.append(line)
                continue
            event = _parse(block)
            block = []
            if event is not None:
                yield event


def _parse(block: list[str]) -> RawEvent | None:
    fields = dict(line.split(": ", 1) for line in block if not line.startswith(":"))
    if "id" not in fields:
        return None
    data = json.loads(fields["data"])
    return RawEvent(int(fields["id"]), fields["event"], data, "\n".join(block))


def text_of(events: list[RawEvent]) -> str:
    """The answer that a reader of these events holds, new attempts considered."""
    pieces: list[str] = []
    counts: list[int] = []
    for event in events:
        if event.kind == "attempt":
            keep = event.data["keep_tokens"]
            while counts and sum(counts) > keep:
                counts.pop()
                pieces.pop()
        elif event.kind == "token":
            pieces.append(event.data["t"])
            counts.append(event.data["n"])
    return "".join(pieces)


def answer_of(client: httpx.Client, job: str) -> str:
    """Wait for a job's end and return its answer."""
    return text_of(list(events_of(client, job)))
