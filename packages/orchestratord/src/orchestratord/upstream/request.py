"""Writes the one request of an exchange. A part that could start a line of its own is refused."""

import re
from typing import Final

from orchestrator_core.errors import Code, Refusal, RequestError

__all__ = ["Address", "build_request", "host_header"]

Address = tuple[str, int]

_METHOD: Final = re.compile(r"[A-Z]{1,16}")
_TARGET: Final = re.compile(r"/[\x21-\x7e]*")
_HOST: Final = re.compile(r"[A-Za-z0-9._:%\[\]-]+")
_BEARER: Final = re.compile(r"[\x21-\x7e]+")
_ACCEPT: Final = re.compile(r"[\x20-\x7e]+")
_CORRELATION_ID: Final = re.compile(r"[a-zA-Z0-9-]{1,64}")


def host_header(address: Address) -> str:
    """Name an address the way the Host field wants it."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def build_request(
    method: str,
    target: str,
    host: str,
    body: bytes,
    *,
    bearer: str | None,
    accept: str,
    correlation_id: str | None,
) -> bytes:
    """Write head and body; RequestError when a part does not belong into its line."""
    lines = [
        f"{_fit(_METHOD, method, 'method')} {_fit(_TARGET, target, 'target')} HTTP/1.1",
        f"Host: {_fit(_HOST, host, 'host')}",
        "Connection: close",
        f"Accept: {_fit(_ACCEPT, accept, 'accept')}",
    ]
    if bearer is not None:
        lines.append(f"Authorization: Bearer {_fit(_BEARER, bearer, 'key')}")
    if correlation_id is not None:
        checked = _fit(_CORRELATION_ID, correlation_id, "correlation id")
        lines.append(f"X-Correlation-Id: {checked}")
    if body:
        lines.append("Content-Type: application/json")
    if body or method != "GET":
        lines.append(f"Content-Length: {len(body)}")
    lines.append("\r\n")
    return "\r\n".join(lines).encode("ascii") + body


def _fit(pattern: re.Pattern[str], text: str, what: str) -> str:
    if pattern.fullmatch(text) is None:
        # The value stays out of the message: it may be a key.
        raise RequestError(Refusal(Code.INVALID_REQUEST, f"the {what} of a worker call is invalid"))
    return text
