"""Puts TLS in front of a server of the loopback, for clients that take us for https://localhost."""

import contextlib
import select
import socket
import ssl
import threading
from collections.abc import Generator
from pathlib import Path

__all__ = ["tls_front"]

# A key that opens nothing, for a name that nobody can own.
_PEM = """\
-----BEGIN EC PRIVATE KEY-----
MHcCAQEEILoN7fIsD5kkPKVWKEZFWJ08n4HVwrECR+L6RX0WHpxAoAoGCCqGSM49
AwEHoUQDQgAE2fAH2C/sLd6NYjIHk5WgEYFLOxDZzT0oTE/QOKKL1uWD0MuH/SUk
0HBksde0+eHoPQa9ZspGYXmw1nhpxs2CLw==
-----END EC PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBZzCCAQ2gAwIBAgIBATAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAlsb2NhbGhv
c3QwIBcNMDAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBQxEjAQBgNVBAMM
CWxvY2FsaG9zdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABNnwB9gv7C3ejWIy
B5OVoBGBSzsQ2c09KExP0Diii9blg9DLh/0lJNBwZLHXtPnh6D0GvWbKRmF5sNZ4
acbNgi+jTjBMMBoGA1UdEQQTMBGCCWxvY2FsaG9zdIcEfwAAATAPBgNVHRMBAf8E
BTADAQH/MB0GA1UdDgQWBBS/JuoY57iJNKjwlZO9pv2S8qeGbzAKBggqhkjOPQQD
AgNIADBFAiEAg/yE/+GhgEUhVDgzD8ysq3lXfGwyaZCL3jfS4nYcJbYCIGBQAAN/
W2dgWkr3R9AygsaDInobVQrvpJH0SYMF60I2
-----END CERTIFICATE-----
"""
_PIECE_BYTES = 1 << 16


@contextlib.contextmanager
def tls_front(url: str, pem: Path) -> Generator[str]:
    """Serve what a plain server serves under the URL that is given out, until the block ends.

    The file that is named gets what a client has to trust, as in SSL_CERT_FILE.
    """
    pem.write_text(_PEM, "ascii")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    port = int(url.rpartition(":")[2])
    threads: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                one = threading.Thread(target=_serve, args=(context, connection, port))
                one.start()
                threads.append(one)

        door = threading.Thread(target=accept)
        door.start()
        try:
            yield f"https://localhost:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            door.join()
            for thread in threads:
                thread.join()


def _serve(context: ssl.SSLContext, connection: socket.socket, port: int) -> None:
    """Carry bytes both ways until one side ends."""
    with (
        contextlib.suppress(OSError),
        connection,
        context.wrap_socket(connection, server_side=True) as secure,
        socket.create_connection(("127.0.0.1", port)) as plain,
    ):
        ways = {secure: plain, plain: secure}
        while True:
            # What was decrypted already is not seen by select.
            ready = [secure] if secure.pending() else select.select(list(ways), [], [])[0]
            for one in ready:
                piece = one.recv(_PIECE_BYTES)
                if not piece:
                    return
                ways[one].sendall(piece)
