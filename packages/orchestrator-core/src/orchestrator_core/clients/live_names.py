"""Asks a daemon for one small JSON document while a shell waits for a completion.

Nothing heavy is imported, half a second is the limit, and whatever goes wrong is no answer.
"""

import http.client
import json
import ssl
import time
from typing import Final
from urllib.parse import urlsplit

__all__ = ["ask_briefly"]

_SIZE_MAX_BYTES: Final = 4 << 20
_PIECE_BYTES: Final = 1 << 16


def ask_briefly(
    url: str,
    path: str,
    key: str | None,
    *,
    tls: ssl.SSLContext | None = None,
    timeout_s: float = 0.5,
) -> object:
    """GET a document; None when no whole answer came in time."""
    deadline_s = time.monotonic() + timeout_s
    try:
        connection = _connection(url, tls, timeout_s)
    except ValueError:
        return None
    try:
        connection.request("GET", path, headers={"authorization": f"Bearer {key}"} if key else {})
        response = connection.getresponse()
        body = b""
        while piece := response.read1(_PIECE_BYTES):
            body += piece
            if len(body) > _SIZE_MAX_BYTES or time.monotonic() >= deadline_s:
                return None
        return json.loads(body) if response.status == http.client.OK else None
    except (OSError, ValueError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def _connection(
    url: str, tls: ssl.SSLContext | None, timeout_s: float
) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    if not parts.hostname:
        raise ValueError(url)
    if parts.scheme == "https":
        return http.client.HTTPSConnection(
            parts.hostname, parts.port, timeout=timeout_s, context=tls
        )
    return http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout_s)
