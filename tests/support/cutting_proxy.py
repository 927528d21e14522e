"""A proxy that hands a client its bytes in pieces of random length, and remembers all of them.

What a client makes of an answer must not depend on where a read ends. The places are drawn from a
seed, so that a run can be had again.
"""

import contextlib
import random
import socket
import threading
from typing import Self

__all__ = ["CuttingProxy"]

_LONGEST_BYTES = 61
_READ_BYTES = 65536
_JOIN_S = 10.0


class CuttingProxy:
    """Listens on a free port of the loopback and passes on to one other; whole reads without a seed."""

    def __init__(self, host: str, port: int, seed: int | None) -> None:
        self._target = (host, port)
        self._dice = None if seed is None else random.Random(seed)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._start(self._accept)
        self.seen = bytearray()

    @property
    def url(self) -> str:
        """Where a client finds it."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for open_socket in (self._listener, *self._sockets):
            # Closing alone does not wake a thread that waits in accept() or recv().
            with contextlib.suppress(OSError):
                open_socket.shutdown(socket.SHUT_RDWR)
            open_socket.close()
        for thread in self._threads:
            thread.join(_JOIN_S)

    def _start(self, work: object, *args: object) -> None:
        assert callable(work)
        thread = threading.Thread(target=work, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._sockets += [client, server]
                self._start(self._pass_on, client, server)
                self._start(self._cut_up, server, client)

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(_READ_BYTES):
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)

    def _cut_up(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(_READ_BYTES):
                self.seen += data
                while data:
                    size = self._dice.randint(1, _LONGEST_BYTES) if self._dice else len(data)
                    client.sendall(data[:size])
                    data = data[size:]
            client.shutdown(socket.SHUT_WR)
