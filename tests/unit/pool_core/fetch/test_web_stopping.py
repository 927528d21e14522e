"""Nobody waits for a silent hub any longer than they want to, wherever it falls silent.

Every patience here is ten minutes: what does not heed the stop does not come back in time.
"""

import contextlib
import socket
import threading
from collections.abc import Iterator, Sequence

import pytest

from orchestrator_core.errors import Code, LlorchError
from pool_core.fetch.settings import WebSettings
from pool_core.fetch.web import Web

_PATIENCE_S = 600.0
_JOIN_S = 30.0


class MuteServer:
    """Says what it is told to and then nothing; a connection that the client leaves is noticed."""

    def __init__(self, words: bytes) -> None:
        self._words = words
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.is_silent = threading.Event()
        self.was_left = threading.Event()
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            connection, _ = self._listener.accept()
            with connection:
                self._open.append(connection)
                connection.recv(65536)
                connection.sendall(self._words)
                self.is_silent.set()
                connection.recv(1)
                self.was_left.set()


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[MuteServer]:
    server = MuteServer(request.param)
    yield server
    server.close()


def client(url: str, stop: threading.Event) -> Web:
    settings = WebSettings(
        endpoint=url, is_named=True, connect_timeout_s=_PATIENCE_S, read_timeout_s=_PATIENCE_S
    )
    return Web.open(settings, stop=stop.is_set)


class Asking(threading.Thread):
    """Somebody who reads an answer and can be stopped."""

    def __init__(self, web: Web, url: str) -> None:
        super().__init__(daemon=True)
        self._web = web
        self._url = url
        self.codes: list[Code] = []
        self.start()

    def run(self) -> None:
        try:
            self._web.get(self._url, max_bytes=10**6)
        except LlorchError as error:
            self.codes.append(error.code)

    def ends_cancelled(self) -> bool:
        self.join(_JOIN_S)
        return not self.is_alive() and self.codes == [Code.CANCELLED]


HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n"
SILENCES = {
    "before the headers": b"",
    "within the headers": b"HTTP/1.1 200 OK\r\ncont",
    "before the first byte": HEAD,
    "within the body": HEAD + b"x" * 100,
    "between chunks": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "after the headers of no known length": b"HTTP/1.1 200 OK\r\n\r\n",
}


@pytest.mark.parametrize("server", SILENCES.values(), ids=SILENCES, indirect=True)
def test_a_hub_that_falls_silent_is_left_when_nobody_wants_to_wait(server: MuteServer) -> None:
    stop = threading.Event()
    with client(server.url, stop) as web:
        asking = Asking(web, f"{server.url}/api")
        assert server.is_silent.wait(_JOIN_S)
        stop.set()
        assert asking.ends_cancelled()


@pytest.mark.parametrize(
    "server", [HEAD, SILENCES["between chunks"]], ids=["length", "chunks"], indirect=True
)
def test_the_connection_of_a_body_that_was_left_is_closed(server: MuteServer) -> None:
    stop = threading.Event()
    with client(server.url, stop) as web:
        asking = Asking(web, f"{server.url}/api")
        assert server.is_silent.wait(_JOIN_S)
        stop.set()
        assert asking.ends_cancelled()
    assert server.was_left.wait(_JOIN_S)


def test_a_name_that_nobody_answers_for_is_left() -> None:
    stop, is_asked, may_answer = threading.Event(), threading.Event(), threading.Event()

    def resolve(host: str, port: int) -> Sequence[str]:
        is_asked.set()
        may_answer.wait(_JOIN_S)
        raise socket.gaierror(socket.EAI_AGAIN, f"{host}:{port}")

    settings = WebSettings(endpoint="http://hub.example", is_named=True)
    with Web.open(settings, resolve=resolve, stop=stop.is_set) as web:
        asking = Asking(web, "http://hub.example/api")
        assert is_asked.wait(_JOIN_S)
        stop.set()
        assert asking.ends_cancelled()
        may_answer.set()


def test_a_host_that_takes_no_connection_is_left() -> None:
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        stop = threading.Event()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        asking = Asking(stack.enter_context(client(url, stop)), url)
        stop.set()
        assert asking.ends_cancelled()


@pytest.mark.parametrize("server", [HEAD + b"x" * 1000], indirect=True)
def test_what_comes_in_time_is_read_as_ever(server: MuteServer) -> None:
    with client(server.url, threading.Event()) as web:
        assert web.get(f"{server.url}/api", max_bytes=10**6).body == b"x" * 1000
