"""Checks the address that a pool gives for itself; pure."""

import ipaddress
from urllib.parse import urlsplit

from orchestrator_core.errors import Code, Refusal

__all__ = ["checked_endpoint"]


def checked_endpoint(endpoint: str) -> str | Refusal:
    """Accept plain HTTP to this machine only: orders carry a key, and there is no TLS on it."""
    parts = urlsplit(endpoint)
    host = parts.hostname or ""
    try:
        is_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = host == "localhost"
    try:
        port = parts.port
    except ValueError:
        port = None
    bare = not (parts.path.strip("/") or parts.query or parts.fragment or parts.username)
    if parts.scheme != "http" or not is_loopback or port is None or not bare:
        message = f"endpoint {endpoint!r} is not http://LOOPBACK:PORT"
        return Refusal(Code.INVALID_REQUEST, message, {"param": "endpoint"})
    return endpoint.rstrip("/")
