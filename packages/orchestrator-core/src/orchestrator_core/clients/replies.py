"""Reads what a peer answered: a typed model, or an error of the tree with one clear line."""

import ipaddress
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel, ValidationError

from orchestrator_core.contracts.control import ErrorEnvelope
from orchestrator_core.errors import Code, LlorchError, PeerError, Refusal, RequestError, error_for

__all__ = ["Peer", "read_reply", "refused", "unreachable"]

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Peer:
    """Whom we call, and the command that starts it."""

    name: str
    url: str
    start_command: str


def read_reply(peer: Peer, response: httpx.Response, model: type[M]) -> M:
    """Check the status and the shape of an answer."""
    if not response.is_success:
        raise refused(peer, response)
    try:
        return model.model_validate_json(response.content)
    except ValidationError as error:
        place = error.errors(include_url=False)[0]["loc"]
        where = ".".join(str(part) for part in place) or "the body"
        reason = f"{peer.url} does not answer like {peer.name}: {where} of {response.url.path}"
        raise PeerError(Refusal(Code.INTERNAL, reason)) from error


def refused(peer: Peer, response: httpx.Response) -> LlorchError:
    """Turn a refusal's envelope into its error; the code decides, the status is only told."""
    status = response.status_code
    try:
        body = ErrorEnvelope.model_validate_json(response.content).error
    except ValidationError:
        text = f"{peer.url} answered {status} {response.reason_phrase} without a reason"
        return PeerError(Refusal(Code.INTERNAL, text, {"status": status}))
    details: dict[str, object] = {**(body.details or {}), "status": status}
    if body.correlation_id:
        details["correlation_id"] = body.correlation_id
    try:
        code = Code(body.code)
    except ValueError:
        text = f"{peer.name} answered {status} {body.code}: {body.message}"
        return PeerError(Refusal(Code.INTERNAL, text, details))
    return error_for(Refusal(code, body.message, details, _retry_after(response)))


def unreachable(peer: Peer, error: httpx.HTTPError | httpx.InvalidURL) -> LlorchError:
    """Say in one line why no answer came, and what to do about it."""
    if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol):
        return RequestError(Refusal(Code.INVALID_REQUEST, f'"{peer.url}" is not an http URL'))
    tls = next((found for found in _causes(error) if isinstance(found, ssl.SSLError)), None)
    if tls is not None:
        return PeerError(Refusal(Code.UNREACHABLE, _tls_trouble(peer, tls)))
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        advice = f"start {peer.name} with: {peer.start_command}"
        if not _is_here(peer.url):
            advice = f"is {peer.name} up there, and does this machine reach that port?"
        return PeerError(Refusal(Code.UNREACHABLE, f"nothing answers at {peer.url}; {advice}"))
    if isinstance(error, httpx.TimeoutException):
        return PeerError(Refusal(Code.TIMEOUT, f"{peer.name} at {peer.url} did not answer in time"))
    text = f"{peer.name} at {peer.url} closed the connection"
    return PeerError(Refusal(Code.UNREACHABLE, text))


def _is_here(url: str) -> bool:
    """Whether an address is this machine's own: elsewhere a command here starts nothing."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _causes(error: BaseException) -> Iterator[BaseException]:
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__ or found.__context__


def _tls_trouble(peer: Peer, error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"the certificate of {peer.url} is not trusted: {error.verify_message}; "
            "name the file of who vouches for it in LLORCH_CA_FILE"
        )
    return f"{peer.url} does not speak HTTPS; if it speaks plain HTTP, its URL is http://..."


def _retry_after(response: httpx.Response) -> int | None:
    value = response.headers.get("retry-after", "")
    return int(value) if value.isdecimal() else None
