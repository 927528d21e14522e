"""Checks the addresses and keys that a pool gives for itself and its workers; pure.

A worker of a pool is on loopback of its host; an external engine is where its operator says. A
pool is on our own loopback; one that was enrolled is at the host of its enrolment and nowhere else.
"""

import ipaddress
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from orchestrator_core.catalog.external import is_external, read_engine_address
from orchestrator_core.clients.pins import read_certificate
from orchestrator_core.contracts.pool import PoolRegister, WorkerReport
from orchestrator_core.errors import Code, Refusal
from orchestratord.runtime.hosts.ways import PoolContact
from orchestratord.store.rows import PoolRow

__all__ = [
    "checked_address",
    "checked_remote",
    "contact_of",
    "is_loopback",
    "is_same_host",
    "refused_worker",
]

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}", re.ASCII)
# A name whose last part is a number is an address to a resolver, however it is written.
_NUMBER: Final = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*", re.ASCII)
_SHOWN: Final = 200
_KEY: Final = re.compile(r"[\x21-\x7e]{1,512}")


def checked_address(url: str, field: str) -> str | Refusal:
    """Accept plain HTTP to this machine only: calls carry a key, and there is no TLS on them."""
    found = _loopback(url)
    if found is not None:
        return found
    message = f"{field} {url[:_SHOWN]!r} is not http://LOOPBACK:PORT"
    return Refusal(Code.INVALID_REQUEST, message, {"param": field})


def checked_remote(url: str, field: str) -> str | Refusal:
    """Accept HTTPS to a host and port, and nothing else that a URL can hold."""
    found = _remote(url)
    if found is not None:
        return found
    message = f"{field} {url[:_SHOWN]!r} is not https://HOST:PORT: bind the pool to an address "
    message += "that this orchestrator reaches"
    return Refusal(Code.INVALID_REQUEST, message, {"param": field})


def contact_of(register: PoolRegister, row: PoolRow | None) -> PoolContact | Refusal:
    """Say how a pool is reached in the session that it opens now; row is its enrolment, if any."""
    key, version = register.control_key.get_secret_value(), register.version
    if not _KEY.fullmatch(key):
        message = "control_key holds characters that no key has"
        return Refusal(Code.INVALID_REQUEST, message, {"param": "control_key"})
    endpoint = _endpoint_by(register.endpoint, row)
    if isinstance(endpoint, Refusal):
        return endpoint
    if row is None:
        return PoolContact(endpoint, key, version)
    if row.road == "relay" or register.certificate is None:
        return PoolContact(endpoint, key, version, row.certificate, row.road)
    # The tunnel proves who says this, so that other pools may be told to trust it.
    certificate = read_certificate(register.certificate)
    if isinstance(certificate, Refusal):
        return certificate
    return PoolContact(endpoint, key, version, certificate.pem, "ssh")


def is_same_host(older: PoolRow | None, newer: PoolRow | None) -> bool:
    """Tell whether two enrolments of a name mean one host, known by the same marks."""
    return _marks(older) == _marks(newer)


def _marks(row: PoolRow | None) -> tuple[object, ...]:
    return () if row is None else (row.endpoint, row.host_keys, row.certificate)


def _endpoint_by(url: str, row: PoolRow | None) -> str | Refusal:
    if row is None:
        return _unjoined(url)
    if row.road == "relay":
        return _at_its_host(url, row)
    if _loopback(url) is not None:
        # The session itself came through this port of the host's loopback.
        return f"http://127.0.0.1:{row.daemon_port}"
    told = checked_remote(url, "endpoint")
    if isinstance(told, Refusal):
        return told
    # Other pools hear of this address: a pool may send them to its own host only.
    return _https(_host_of(row), urlsplit(told).port or 0)


def _at_its_host(url: str, row: PoolRow) -> str | Refusal:
    """Accept another port, which a restart may bring, yet no other host: we would dial it."""
    told = checked_remote(url, "endpoint")
    if isinstance(told, Refusal) or urlsplit(told).hostname == _host_of(row):
        return told
    message = f"endpoint {url[:_SHOWN]!r}: pool {row.id} was enrolled at {_host_of(row)}; "
    message += f"if it has moved, join it again (llorch host add {row.id} --join)"
    return Refusal(Code.INVALID_REQUEST, message, {"param": "endpoint"})


def _host_of(row: PoolRow) -> str:
    return urlsplit(row.endpoint or "").hostname or ""


def _unjoined(url: str) -> str | Refusal:
    if _remote(url) is None:
        return checked_address(url, "endpoint")
    message = f"endpoint {url[:_SHOWN]!r}: this pool has not joined, so that its certificate is "
    message += "not known here; join it first (llorch host add NAME --join)"
    return Refusal(Code.INVALID_REQUEST, message, {"param": "endpoint"})


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
    if parts.path.strip("/") or parts.query or parts.fragment or not is_loopback(host):
        return None
    # Written anew, so that nothing else of the text reaches a client.
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _remote(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return None
    if parts.scheme != "https" or not port or "@" in parts.netloc or "%" in host:
        return None
    if parts.path.strip("/") or parts.query or parts.fragment:
        return None
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        last = host.removesuffix(".").rpartition(".")[2]
        is_name = _NAME.fullmatch(host) and not _NUMBER.fullmatch(last)
        return _https(host, port) if is_name else None
    plain = getattr(address, "ipv4_mapped", None) or address
    if plain.is_link_local or plain.is_multicast or plain.is_unspecified:
        # Cloud machines answer questions about themselves, keys included, on such addresses.
        return None
    return _https(str(address), port)


def _https(host: str, port: int) -> str:
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


def is_loopback(host: str) -> bool:
    """Tell whether a host or an address can only mean the machine that dials it."""
    try:
        return "%" not in host and ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
