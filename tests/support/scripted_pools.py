"""A pool of a few lines that serves models to others over TLS: honest, or lying as it is told.

It knows nothing of stores or sessions. What it was asked is remembered.
"""

import json
import ssl
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pydantic import SecretStr

from orchestrator_core.contracts.pool import Peer
from orchestrator_core.contracts.sharing import SharedModel
from support.certificates import LOCAL, tls_files

__all__ = ["Asked", "Lie", "ScriptedPool", "Sending", "scripted_pool"]

KEY = "a-key-that-other-pools-were-told"


@dataclass(frozen=True)
class Asked:
    """One request for a content as it arrived."""

    method: str
    path: str
    start: int
    headers: Mapping[str, str]


@dataclass
class Sending:
    """An answer that a lie may change before and while it is sent."""

    asked: Asked
    content: bytes
    status: int
    headers: dict[str, str]
    body: bytes
    then: Callable[[], object] | None = None
    """Called behind the body, with the connection still open."""


Lie = Callable[[Sending], None]


@dataclass
class ScriptedPool:
    """What it holds and how it lies."""

    pool_id: str = "mac"
    contents: dict[str, bytes] = field(default_factory=dict[str, bytes])
    models: list[SharedModel] = field(default_factory=list[SharedModel])
    lie: Lie | None = None
    hesitates_s: float = 0.0
    """How long it takes to say whether it has a content."""
    certificate: str = LOCAL
    key: str = KEY
    url: str = ""
    asked: list[Asked] = field(default_factory=list[Asked])
    tells_anything: bool = False
    """Whatever is asked for, all models are told."""
    names: list[str] = field(default_factory=list[str])
    """The models that it was asked for by name."""
    let_go: threading.Event = field(default_factory=threading.Event)

    @property
    def peer(self) -> Peer:
        """How other pools are told of it."""
        key = SecretStr(self.key)
        return Peer(pool_id=self.pool_id, url=self.url, certificate=self.certificate, key=key)

    def add(self, content: bytes) -> str:
        """Hold a content."""
        digest = sha256(content).hexdigest()
        self.contents[digest] = content
        return digest

    def sent_from(self) -> list[int]:
        """Where each request for bytes began."""
        return [asked.start for asked in self.asked if asked.method == "GET"]

    def sending(self, asked: Asked) -> Sending:
        """The honest answer to a request for a content."""
        digest = asked.path.rpartition("/")[2]
        content = self.contents.get(digest)
        if content is None:
            return Sending(asked, b"", 404, {"content-length": "0"}, b"")
        body = content[asked.start :]
        headers = {"content-length": str(len(body)), "etag": f'"{digest}"'}
        if not asked.start:
            return Sending(asked, content, 200, headers, body)
        headers["content-range"] = f"bytes {asked.start}-{len(content) - 1}/{len(content)}"
        return Sending(asked, content, 206, headers, body)


class _Handler(BaseHTTPRequestHandler):
    pool: ScriptedPool
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        """Say whether a content is here."""
        asked = self._note()
        sending = self.pool.sending(asked)
        self.pool.let_go.wait(self.pool.hesitates_s)
        self._head(sending.status, sending.headers)

    def do_GET(self) -> None:
        """Send a content, or the models of a name."""
        parts = urlsplit(self.path)
        if parts.path == "/peer/models":
            self._models(parse_qs(parts.query)["model"][0])
            return
        sending = self.pool.sending(self._note())
        if self.pool.lie is not None:
            self.pool.lie(sending)
        # Whoever is lied to may hang up.
        with suppress(OSError):
            self._head(sending.status, sending.headers)
            self.wfile.write(sending.body)
            self.wfile.flush()
            if sending.then is not None:
                sending.then()
        self.close_connection = True

    def _note(self) -> Asked:
        wanted = self.headers.get("range", "bytes=0-")
        start = int(wanted.removeprefix("bytes=").partition("-")[0])
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(self.command, urlsplit(self.path).path, start, headers)
        self.pool.asked.append(asked)
        return asked

    def _models(self, name: str) -> None:
        self.pool.names.append(name)
        told = [it for it in self.pool.models if self.pool.tells_anything or it.id == name]
        items = [json.loads(it.model_dump_json()) for it in told]
        body = json.dumps({"items": items}).encode()
        self._head(200, {"content-length": str(len(body)), "content-type": "application/json"})
        self.wfile.write(body)

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        if self.headers.get("authorization") != f"Bearer {self.pool.key}":
            status, headers = 401, {"content-length": "0"}
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Stay silent."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that hangs up is no error here."""


@contextmanager
def scripted_pool(folder: Path, pool_id: str = "mac", **script: Any) -> Generator[ScriptedPool]:
    """Serve on a free port of the loopback."""
    pool = ScriptedPool(pool_id, **script)
    cert, key = tls_files(folder / f"tls-{pool_id}", LOCAL)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    handler = type("Handler", (_Handler,), {"pool": pool})
    server = _Server(("127.0.0.1", 0), handler)
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    pool.url = f"https://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield pool
    finally:
        pool.let_go.set()
        server.shutdown()
        thread.join()
        server.server_close()
