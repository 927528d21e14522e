"""An orchestrator of a few lines for the tests of clients and commands: real sockets, a script.

It plays back the events of a job, cuts the connection where it is told to, and remembers what it
was asked. It knows nothing of queues, workers or disks.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from orchestrator_core.stream import sse

__all__ = [
    "JOB_ID",
    "KEY_ID",
    "Asked",
    "FakeOrchestrator",
    "answer",
    "fake_orchestrator",
    "job",
    "key",
]

JOB_ID = "job_01hxxxxxxxxxxxxxxxxxxxxxxx"
KEY_ID = "key_01hxxxxxxxxxxxxxxxxxxxxxxx"

Event = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


def job(identifier: str = JOB_ID, **changes: Any) -> dict[str, Any]:
    """A job as the API shows it."""
    view = {
        "id": identifier,
        "status": "completed",
        "model": "tiny-chat",
        "priority": "interactive",
        "created_at": "2026-01-01T00:00:00.000Z",
        "output": "Hello!",
    }
    return view | changes


def key(identifier: str = KEY_ID, **changes: Any) -> dict[str, Any]:
    """A key as the API shows it."""
    view = {"id": identifier, "name": "laptop", "scopes": ["user"]}
    return view | {"created_at": "2026-01-01T00:00:00.000Z"} | changes


def answer(*pieces: str, start: int = 0) -> list[Event]:
    """Token events, one token each."""
    return [("token", {"t": text, "i": start + at, "n": 1}) for at, text in enumerate(pieces)]


@dataclass
class FakeOrchestrator:
    """What it answers with, and what it was asked."""

    url: str = ""
    events: list[Event] = field(default_factory=list)
    """The whole stream of every job; event ids count from 1."""
    cuts: list[int] = field(default_factory=list)
    """One connection each: cut behind the event with this id."""
    refusals: dict[str, tuple[int, str, str]] = field(default_factory=dict)
    """METHOD and path -> status, code, message."""
    refuse_next_stream: tuple[int, str, str] | None = None
    """What every stream behind the first one is refused with."""
    raw: dict[str, tuple[int, str]] = field(default_factory=dict)
    """METHOD and path -> status and body, sent as they are."""
    lost: dict[str, int] = field(default_factory=dict)
    """METHOD and path -> how many answers never arrive, though the request was carried out."""
    silent: str = ""
    """METHOD and path of calls that are answered only once release() is called."""
    in_silence: threading.Event = field(default_factory=threading.Event)
    keys: list[dict[str, Any]] = field(default_factory=list)
    usage: list[dict[str, Any]] = field(default_factory=list)
    jobs: list[dict[str, Any]] = field(default_factory=lambda: [job()])
    pools: list[dict[str, Any]] = field(default_factory=list)
    hold: bool = False
    """Keep streams open behind the last event until release() is called."""
    asked: list[Asked] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    def release(self) -> None:
        """Let held streams end."""
        self.released.set()

    def last(self, method: str, path: str) -> Asked:
        """The newest request of this kind."""
        return next(it for it in reversed(self.asked) if (it.method, it.path) == (method, path))

    def count(self, method: str, path: str) -> int:
        """How many requests of this kind came."""
        return sum((it.method, it.path) == (method, path) for it in self.asked)

    def reply(self, asked: Asked) -> tuple[int, Any]:
        """Answer everything but an event stream."""
        match asked.method, asked.path.strip("/").split("/"):
            case "POST", ["v2", "tasks"]:
                url = f"/v2/tasks/{JOB_ID}/events"
                accepted = {"job_id": JOB_ID, "status": "queued", "queue_position": 0}
                return 202, accepted | {"events_url": url}
            case "GET", ["v2", "tasks"]:
                start, size = int(asked.query.get("cursor", 0)), int(asked.query.get("limit", 100))
                end = start + size
                following = str(end) if end < len(self.jobs) else None
                return 200, {"items": self.jobs[start:end], "next": following}
            case (("GET" | "DELETE"), ["v2", "tasks", identifier]):
                return self._job(asked.method, identifier)
            case _, ["v2", "keys" | "usage", *_]:
                return self._keys(asked)
            case "GET", ["v2", "pools"]:
                return 200, {"items": self.pools}
            case "GET", ["livez" | "readyz"]:
                return 200, {"status": "ok"}
            case _:
                return 404, {"error": {"code": "NOT_FOUND", "message": "no such path"}}

    def _keys(self, asked: Asked) -> tuple[int, Any]:
        match asked.method, asked.path.strip("/").split("/")[1:]:
            case "POST", ["keys"]:
                self.keys.append(key(**asked.body))
                return 201, self.keys[-1] | {"key": "llo_user_secret"}
            case "GET", ["keys"]:
                return 200, {"items": self.keys}
            case "DELETE", ["keys", identifier]:
                found = next(it for it in self.keys if it["id"] == identifier)
                found.setdefault("revoked_at", "2026-01-02T00:00:00.000Z")
                return 200, found
            case _:
                return 200, {"items": self.usage, "since": asked.query.get("since")}

    def _job(self, method: str, identifier: str) -> tuple[int, Any]:
        found = next((it for it in self.jobs if it["id"] == identifier), None)
        if found is None:
            message = f"there is no job {identifier}"
            return 404, {"error": {"code": "JOB_NOT_FOUND", "message": message}}
        return 200, found | ({"status": "cancelled"} if method == "DELETE" else {})


class _Handler(BaseHTTPRequestHandler):
    fake: FakeOrchestrator

    def _serve(self) -> None:
        # A client that leaves in the middle is what some tests are about.
        with suppress(ConnectionError):
            self._answer()

    def _answer(self) -> None:
        asked = self._asked()
        self.fake.asked.append(asked)
        kind = f"{asked.method} {asked.path}"
        if kind == self.fake.silent:
            self.fake.in_silence.set()
            self.fake.released.wait(30)
        if self.fake.lost.get(kind, 0) > 0:
            self.fake.lost[kind] -= 1
            self.close_connection = True
        elif kind in self.fake.raw:
            status, body = self.fake.raw[kind]
            self._send(status, body.encode())
        elif kind in self.fake.refusals:
            status, code, message = self.fake.refusals[kind]
            error = {"error": {"code": code, "message": message, "correlation_id": "c-1"}}
            self._send(status, json.dumps(error).encode())
        elif asked.path.endswith("/events"):
            self._stream(int(asked.headers.get("last-event-id", "0")))
        else:
            status, data = self.fake.reply(asked)
            self._send(status, json.dumps(data).encode())

    do_GET = do_POST = do_DELETE = _serve  # noqa: N815 - the names that http.server looks for.

    def _asked(self) -> Asked:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        size = int(self.headers.get("content-length") or 0)
        body = json.loads(self.rfile.read(size)) if size else None
        headers = {name.lower(): value for name, value in self.headers.items()}
        return Asked(self.command, parts.path, query, headers, body)

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.send_header("retry-after", "7")
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, after: int) -> None:
        if self.fake.refuse_next_stream is not None:
            path = urlsplit(self.path).path
            self.fake.refusals[f"GET {path}"] = self.fake.refuse_next_stream
        cut = self.fake.cuts.pop(0) if self.fake.cuts else None
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        self.wfile.write(sse.comment("hello"))
        for number, (kind, data) in enumerate(self.fake.events, 1):
            if cut is not None and number > cut:
                return
            if number > after:
                self.wfile.write(sse.encode(event=kind, data=json.dumps(data), id=number))
        if self.fake.hold:
            self.fake.released.wait(30)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Stay silent."""


@contextmanager
def fake_orchestrator(**script: Any) -> Iterator[FakeOrchestrator]:
    """Serve a script on a free port of the loopback."""
    fake = FakeOrchestrator(**script)
    handler = type("Handler", (_Handler,), {"fake": fake})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    fake.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield fake
    finally:
        fake.release()
        server.shutdown()
        thread.join()
        server.server_close()
