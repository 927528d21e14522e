"""A server that speaks OpenAI's dialect over real sockets, with the quirks that such servers have.

It runs in a thread, so that tests with and without a loop can use it. A test sets its manners, may
close it and open it again on the same port, and reads what it was asked.
"""

import json
import ssl
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

__all__ = ["Asked", "Manners", "OpenAiServer", "make_certificate"]

_POLL_S = 0.01


@dataclass(frozen=True)
class Asked:
    """One request that the server got."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]


@dataclass
class Manners:
    """How the server behaves from now on."""

    models: tuple[str, ...] = ("org/big-model",)
    words: tuple[str, ...] = ("Hel", "lo ", "you")
    key: str | None = None
    prefix: str = ""
    keeps_list: bool = True
    list_status: int = 200
    list_body: bytes | None = None
    chat_status: int = 200
    chat_error: object = None
    counts: bool = True
    counts_always: bool = False
    spaced_json: bool = False
    field_prefix: str = "data: "
    comments: bool = False
    says_done: bool = True
    dies_after: int | None = None
    holds: threading.Event | None = None
    fingerprint: str | None = "fp_theirs"
    certificate: Path | None = None
    asked: list[Asked] = field(default_factory=list)


def make_certificate(folder: Path) -> Path:
    """A key and a certificate for the loopback that nobody trusts, in one file."""
    file = folder / "server.pem"
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-days", "2", "-subj", "/CN=engine", "-addext", "subjectAltName=IP:127.0.0.1",
            "-keyout", str(file), "-out", str(folder / "only.pem"),
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    file.write_text(file.read_text() + (folder / "only.pem").read_text())
    return file


class OpenAiServer:
    """Listens on a free port of the loopback for a block."""

    def __init__(self, **manners: Any) -> None:
        self.manners = Manners(**manners)
        self.port = 0
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where it listens, as an operator would write it."""
        scheme = "https" if self.manners.certificate else "http"
        return f"{scheme}://127.0.0.1:{self.port}{self.manners.prefix}"

    @property
    def chats(self) -> list[Asked]:
        """The questions it got, the looks at its models left out."""
        return [asked for asked in self.manners.asked if asked.method == "POST"]

    def open(self) -> None:
        """Listen, on the same port as before."""
        handler = type("Handler", (_Handler,), {"manners": self.manners})
        self._server = _Server(("127.0.0.1", self.port), handler)
        if self.manners.certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.manners.certificate)
            self._server.socket = context.wrap_socket(
                # A handshake inside accept would let one caller hold up all others.
                self._server.socket,
                server_side=True,
                do_handshake_on_connect=False,
            )
        self.port = int(self._server.server_address[1])
        server = self._server
        self._thread = threading.Thread(target=lambda: server.serve_forever(_POLL_S))
        self._thread.start()

    def close(self) -> None:
        """Stop listening, once every answer is out."""
        if self._server is None or self._thread is None:
            return
        if self.manners.holds is not None:
            self.manners.holds.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._server = None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that went away; every other failure is the test's."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    manners: Manners

    def do_GET(self) -> None:
        if not self._is_welcome({}):
            return
        if self.path != f"{self.manners.prefix}/v1/models" or not self.manners.keeps_list:
            self._reply(404, {"error": {"message": "no such page"}})
            return
        cards = [{"id": name, "object": "model"} for name in self.manners.models]
        body: object = {"object": "list", "data": cards}
        self._reply(self.manners.list_status, self.manners.list_body or body)

    def do_POST(self) -> None:
        length = int(self.headers.get("content-length", "0"))
        body = json.loads(self.rfile.read(length))
        if not self._is_welcome(body):
            return
        manners = self.manners
        if manners.chat_status != 200:
            words = manners.chat_error or {"error": {"message": "the engine is ill"}}
            self._reply(manners.chat_status, words)
        elif body.get("model") not in manners.models:
            self._reply(404, {"error": {"message": f"no model {body.get('model')}"}})
        elif body.get("stream"):
            self._stream(body)
        else:
            choice = {"index": 0, "message": {"role": "assistant", "content": "x"}}
            self._reply(200, {"choices": [choice]})

    def _is_welcome(self, body: dict[str, Any]) -> bool:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.manners.asked.append(Asked(self.command, self.path, headers, body))
        wanted = self.manners.key
        if wanted is None or headers.get("authorization") == f"Bearer {wanted}":
            return True
        self._reply(401, {"error": {"message": "Unauthorized"}})
        return False

    def _reply(self, status: int, body: object) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, body: dict[str, Any]) -> None:
        manners, is_chat = self.manners, self.path.endswith("/chat/completions")
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.send_header("connection", "close")
        self.end_headers()
        if manners.comments:
            self._chunk(b": the model is being loaded\n\n")
        if is_chat:
            self._event([{"index": 0, "delta": {"role": "assistant", "content": ""}}], body)
        for number, word in enumerate(manners.words):
            if number == manners.dies_after:
                self.connection.close()
                return
            if number == 1 and manners.holds is not None:
                manners.holds.wait()
            part: dict[str, Any] = {"delta": {"content": word}} if is_chat else {"text": word}
            usage = {"completion_tokens": number + 1} if manners.counts_always else None
            self._event([{"index": 0, "finish_reason": None, **part}], body, usage)
        last: dict[str, Any] = {"delta": {}} if is_chat else {"text": ""}
        self._event([{"index": 0, "finish_reason": "stop", **last}], body)
        if manners.counts and body.get("stream_options", {}).get("include_usage"):
            count = len(manners.words)
            usage = {"prompt_tokens": 7, "completion_tokens": count, "total_tokens": 7 + count}
            self._event([], body, usage)
        if manners.says_done:
            self._chunk(f"{manners.field_prefix}[DONE]\n\n".encode())
        self.wfile.write(b"0\r\n\r\n")

    def _event(
        self,
        choices: list[dict[str, Any]],
        body: dict[str, Any],
        usage: Mapping[str, int] | None = None,
    ) -> None:
        told: dict[str, Any] = {
            "id": "chatcmpl-theirs",
            "object": "chat.completion.chunk",
            "created": 1_700_000_000,
            "model": body["model"],
            "choices": choices,
        }
        if self.manners.fingerprint is not None:
            told["system_fingerprint"] = self.manners.fingerprint
        if usage is not None:
            told["usage"] = usage
        separators = None if self.manners.spaced_json else (",", ":")
        data = json.dumps(told, separators=separators)
        self._chunk(f"{self.manners.field_prefix}{data}\n\n".encode())

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Stay silent."""
