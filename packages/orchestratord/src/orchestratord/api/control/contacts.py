"""Checks the addresses and keys that a pool gives for itself and its workers; pure.

A worker of a pool is on loopback; an external engine is where its operator says.
"""

import ipaddress
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from orchestrator_core.catalog.external import is_external, read_engine_address
from orchestrator_core.contracts.pool import WorkerReport
from orchestrator_core.errors import Code, Refusal

__all__ = ["checked_address", "refused_worker"]

_KEY: Final = re.compile(r"[\x21-\x7e]{1,512}")


def checked_address(url: str, field: str) -> str | Refusal:
    """Accept plain HTTP to this machine only: calls carry a key, and there is no TLS on them."""
    found = _loopback(url)
    if found is not None:
        return found
    message = f"{field} {url[:200]!r} is not http://LOOPBACK:PORT"
    return Refusal(Code.INVALID_REQUEST, message, {"param": field})


def refused_worker(workers: Iterable[WorkerReport]) -> Refusal | None:
    """Find a worker whose address or key no request may be sent with."""
    for number, worker in enumerate(workers):
        if worker.url is not None:
            field = f"workers.{number}.url"
            found = _checked(worker.url, field, external=is_external(worker.spec))
            if isinstance(found, Refusal):
                return found
        if worker.key is not None and not _KEY.fullmatch(worker.key.get_secret_value()):
            field = f"workers.{number}.key"
            message = f"{field} holds characters that no key has"
            return Refusal(Code.INVALID_REQUEST, message, {"param": field})
    return None


def _checked(url: str, field: str, *, external: bool) -> str | Refusal:
    if not external:
        return checked_address(url, field)
    found = read_engine_address(url)
    if isinstance(found, Refusal):
        return Refusal(Code.INVALID_REQUEST, f"{field} {found.message}", {"param": field})
    return found.url


def _loopback(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return None
    if parts.scheme != "http" or not port or "@" in parts.netloc:
        return None
    if parts.path.strip("/") or parts.query or parts.fragment or not _is_loopback(host):
        return None
    # Written anew, so that nothing else of the text reaches a client.
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _is_loopback(host: str) -> bool:
    try:
        return "%" not in host and ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
