"""Says in one line why a hub could not be asked, without a token or the query of a link: pure."""

import socket
import ssl
from enum import StrEnum
from typing import Final

import httpx

from orchestrator_core.errors import Code, LlorchError, PeerError, Refusal, error_for
from pool_core.fetch.origin import Hop

__all__ = ["Cause", "fault_of", "left", "peer_error", "stalled"]

_SHOWN: Final = 120
_LOOK: Final = "look at the network, or set HF_ENDPOINT or HTTPS_PROXY"


class Cause(StrEnum):
    """What broke; it stands in the details of the refusal under `cause`."""

    NAME = "name"
    CONNECT = "connect"
    TRUST = "trust"
    PROXY = "proxy"
    SILENCE = "silence"
    CUT = "cut"
    ANSWER = "answer"
    KEY = "key"

    @property
    def heals(self) -> bool:
        """True when the same request may work a little later."""
        return self not in (Cause.TRUST, Cause.PROXY, Cause.ANSWER, Cause.KEY)


def peer_error(code: Code, line: str, cause: Cause) -> PeerError:
    """An error of the remote side."""
    return PeerError(Refusal(code, line, {"cause": cause.value}))


def stalled(hop: Hop, seconds: float) -> PeerError:
    """Nothing came for too long."""
    line = f"{hop.host} has sent nothing for {seconds:.0f} s"
    return peer_error(Code.TIMEOUT, line, Cause.SILENCE)


def left(hop: Hop) -> LlorchError:
    """Nobody wanted to wait for the answer any more."""
    return error_for(Refusal(Code.CANCELLED, f"the request to {hop.host} was cancelled"))


def fault_of(
    error: Exception, hop: Hop, *, read_timeout_s: float, is_proxied: bool = False
) -> PeerError:
    """Turn whatever the network threw at us into one line."""
    untrusted = _trust_fault(error)
    if untrusted is not None:
        line = f"{hop.host} cannot prove who it is ({untrusted}): set SSL_CERT_FILE if its"
        line += " authority is your own"
        return peer_error(Code.UNREACHABLE, line, Cause.TRUST)
    if isinstance(error, socket.gaierror):
        line = f"no address is known for {hop.host}: {_LOOK}"
        return peer_error(Code.UNREACHABLE, line, Cause.NAME)
    if isinstance(error, httpx.ProxyError):
        line = f"the proxy does not let us through to {hop.host}: {_plain(error)}"
        return peer_error(Code.UNREACHABLE, line, Cause.PROXY)
    if isinstance(error, httpx.ConnectTimeout | httpx.ConnectError):
        line = f"nothing answers at {hop.host}:{hop.port}: {_LOOK}"
        if is_proxied:
            line = f"the proxy on the way to {hop.host} does not answer: look at HTTPS_PROXY"
        return peer_error(Code.UNREACHABLE, line, Cause.CONNECT)
    if isinstance(error, httpx.TimeoutException):
        return stalled(hop, read_timeout_s)
    line = f"{hop.host} closed the connection in mid-answer"
    return peer_error(Code.UNREACHABLE, line, Cause.CUT)


def _trust_fault(error: BaseException) -> str | None:
    """What TLS found wrong; the chain is short, because libraries wrap it two or three times."""
    seen: BaseException | None = error
    for _ in range(8):
        if isinstance(seen, ssl.SSLCertVerificationError):
            return _plain(seen.verify_message)
        if isinstance(seen, ssl.SSLError) and not isinstance(seen, ssl.SSLEOFError):
            return _plain(seen.reason or "TLS failed")
        if seen is None:
            return None
        seen = seen.__cause__ or seen.__context__
    return None


def _plain(text: object) -> str:
    line = " ".join(str(text).split())
    return "".join(letter for letter in line if letter.isprintable())[:_SHOWN]
