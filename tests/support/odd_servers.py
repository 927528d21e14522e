"""Servers that are no SSH servers, or stop being one in the middle of the login."""

import contextlib
import socket
import threading
from collections.abc import Callable, Generator

__all__ = ["odd_server", "relay_until"]

_JOIN_S = 10.0


@contextlib.contextmanager
def odd_server(words: bytes, then: str) -> Generator[int]:
    """Say these words to everybody; then "hang", "close" or "repeat" them without end."""

    def serve(client: socket.socket, over: threading.Event) -> None:
        client.sendall(words)
        while then == "repeat":
            client.sendall(words)
        if then == "hang":
            over.wait()

    with _listening(serve) as port:
        yield port


@contextlib.contextmanager
def relay_until(target_port: int, size_bytes: int) -> Generator[int]:
    """Pass on to a real server, and hang once so many of its bytes have come through."""

    def serve(client: socket.socket, over: threading.Event) -> None:
        with socket.create_connection(("127.0.0.1", target_port)) as server:
            upwards = threading.Thread(target=_pour, args=(client, server), daemon=True)
            upwards.start()
            left = size_bytes
            while left and (data := server.recv(left)):
                client.sendall(data)
                left -= len(data)
            over.wait()

    with _listening(serve) as port:
        yield port


def _pour(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)


@contextlib.contextmanager
def _listening(serve: Callable[[socket.socket, threading.Event], None]) -> Generator[int]:
    over = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    clients: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def talk(client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            serve(client, over)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                clients.append(client)
                thread = threading.Thread(target=talk, args=(client,), daemon=True)
                threads.append(thread)
                thread.start()

    threads.append(threading.Thread(target=accept, daemon=True))
    threads[0].start()
    try:
        yield listener.getsockname()[1]
    finally:
        over.set()
        for open_socket in (listener, *clients):
            # Closing alone does not wake a thread that waits in accept() or recv().
            with contextlib.suppress(OSError):
                open_socket.shutdown(socket.SHUT_RDWR)
            open_socket.close()
        for thread in threads:
            thread.join(_JOIN_S)
