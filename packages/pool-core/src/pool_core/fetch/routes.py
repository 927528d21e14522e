"""Opens the connections of one client: to the very address that was judged, or through a proxy.

A name is looked up once per request, every address is judged, and the connection goes to one of
these: nobody can answer with another address between the judgement and the connection.
"""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, cast

import httpx
from pydantic import SecretStr

from orchestrator_core.errors import Code, Refusal, RequestError, error_for
from pool_core.fetch.errand import Errand, Stop
from pool_core.fetch.origin import Hop, Reach, judge_address, judge_hop, reach_of, reach_of_name
from pool_core.fetch.pinning import pinned_context
from pool_core.fetch.proxying import judge_proxy, proxy_for
from pool_core.fetch.settings import WebSettings

__all__ = ["Resolve", "Routes", "addresses_of", "hop_of"]

Resolve = Callable[[str, int], Sequence[str]]

_ADDRESSES_MAX: Final = 4
# Servers close idle connections after a while: ours are given up earlier than most do.
_LIMITS: Final = httpx.Limits(keepalive_expiry=2.0)
_PORTS: Final = {"http": 80, "https": 443}


def hop_of(url: httpx.URL) -> Hop:
    """The place that a URL names, read by the parser that also connects."""
    return Hop(
        scheme=url.scheme,
        host=url.raw_host.decode("ascii").lower(),
        port=url.port or _PORTS.get(url.scheme, 0),
        has_userinfo=bool(url.userinfo),
    )


def addresses_of(host: str, port: int) -> Sequence[str]:
    """Ask the system for the addresses of a host; raises socket.gaierror."""
    # As bytes it is looked up as it is; a str would be encoded anew, and refused in other ways.
    found = socket.getaddrinfo(host.encode("ascii"), port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Routes:
    """Connections to a hub, kept open, and to where it sends us, closed with their answer."""

    def __init__(self, settings: WebSettings, resolve: Resolve) -> None:
        self._settings = settings
        self._resolve = resolve
        self._hub = hop_of(httpx.URL(settings.endpoint))
        self._lock = threading.Lock()
        self._kept: httpx.HTTPTransport | None = None
        self._trust: ssl.SSLContext | None = None
        self._reach: Reach | None = None
        self._strays = 0
        self._is_closed = False

    @property
    def hub(self) -> Hop:
        """The hub's own origin."""
        return self._hub

    def send(self, request: httpx.Request, stop: Stop | None = None) -> httpx.Response:
        """Send a request where it may go; raises httpx errors, and RequestError for a refusal.

        With stop it is left when that says so: LeftError, and its connection ends by itself.
        """
        if stop is None:
            return self._send(request)
        errand = Errand(lambda: self._send(request), too_late=self._returned)
        return errand.outcome(stop, leave=self._strayed)

    def close(self) -> None:
        """Close what is kept open, as soon as nobody is left who reads from it."""
        with self._lock:
            self._is_closed = True
            kept = self._given_up()
        if kept is not None:
            kept.close()

    def _strayed(self) -> None:
        with self._lock:
            self._strays += 1

    def _returned(self, response: httpx.Response | None) -> None:
        if response is not None:
            response.close()
        with self._lock:
            self._strays -= 1
            kept = self._given_up()
        if kept is not None:
            kept.close()

    def _given_up(self) -> httpx.HTTPTransport | None:
        """The kept connections, once nobody needs them; the lock is held."""
        if self._strays or not self._is_closed:
            return None
        kept, self._kept = self._kept, None
        return kept

    def _send(self, request: httpx.Request) -> httpx.Response:
        hop = hop_of(request.url)
        reach = self._measured_reach()
        refusal = judge_hop(hop, self._hub, reach)
        if refusal is not None:
            raise error_for(refusal)
        proxy = proxy_for(hop, self._settings.proxies)
        places = [request] if proxy is not None else self._bound(request, hop, reach)
        is_hub = hop.is_same_origin(self._hub)
        transport = self._hub_transport() if is_hub else self._transport(hop)
        try:
            response = _first_answer(transport, places)
        except BaseException:
            if not is_hub:
                transport.close()
            raise
        if not is_hub:
            response.stream = _Closing(cast("httpx.SyncByteStream", response.stream), transport)
        return response

    def _measured_reach(self) -> Reach:
        """How far this hub may send us; the built-in one is never in a private network."""
        if not self._settings.is_named:
            return Reach.PUBLIC
        if self._reach is None:
            if proxy_for(self._hub, self._settings.proxies) is not None:
                self._reach = reach_of_name(self._hub.host)
            else:
                self._reach = reach_of(self._resolve(self._hub.host, self._hub.port))
        return self._reach

    def _bound(self, request: httpx.Request, hop: Hop, reach: Reach) -> list[httpx.Request]:
        """The same request to each address of its host; the name stays for TLS and for Host."""
        addresses = self._resolve(hop.host, hop.port)
        for address in addresses:
            refusal = judge_address(hop, address, reach)
            if refusal is not None:
                raise error_for(self._explained(refusal, hop, address))
        name = {} if hop.host in addresses else {"sni_hostname": hop.host}
        return [
            httpx.Request(
                request.method,
                request.url.copy_with(host=address),
                headers=request.headers,
                extensions={**request.extensions, **name},
            )
            for address in addresses[:_ADDRESSES_MAX]
        ]

    def _explained(self, refusal: Refusal, hop: Hop, address: str) -> Refusal:
        if self._settings.is_named or not hop.is_same_origin(self._hub):
            return refusal
        line = f"this network answers for {hop.host} itself, with {address}: set HF_ENDPOINT to"
        return replace(refusal, message=f"{line} {self._settings.endpoint} if that is meant")

    def _hub_transport(self) -> httpx.HTTPTransport:
        with self._lock:
            if self._kept is None:
                self._kept = self._transport(self._hub)
            return self._kept

    def _transport(self, hop: Hop) -> httpx.HTTPTransport:
        proxy = proxy_for(hop, self._settings.proxies)
        # Reading certificates takes longer than a plain request, which needs none.
        is_secure = hop.scheme == "https" or proxy is not None
        verify = self._trusted() if is_secure else False
        if proxy is None:
            return httpx.HTTPTransport(verify=verify, trust_env=False, limits=_LIMITS)
        through = _proxy(proxy)
        return httpx.HTTPTransport(verify=verify, trust_env=False, limits=_LIMITS, proxy=through)

    def _trusted(self) -> ssl.SSLContext:
        if self._trust is None and self._settings.certificate is not None:
            self._trust = pinned_context(self._settings.certificate)
        if self._trust is None:
            self._trust = _trust(self._settings.ca_file, self._settings.ca_folder)
        return self._trust


class _Closing(httpx.SyncByteStream):
    """A body that closes its connection when it is closed."""

    def __init__(self, stream: httpx.SyncByteStream, transport: httpx.HTTPTransport) -> None:
        self._stream = stream
        self._transport = transport

    def __iter__(self) -> Iterator[bytes]:
        yield from self._stream

    def close(self) -> None:
        self._stream.close()
        self._transport.close()


def _first_answer(
    transport: httpx.HTTPTransport, places: Sequence[httpx.Request]
) -> httpx.Response:
    """The answer of the first address that can be connected to."""
    for place in places[:-1]:
        try:
            return transport.handle_request(place)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            continue
    return transport.handle_request(places[-1])


def _proxy(address: SecretStr) -> httpx.Proxy:
    refusal = judge_proxy(address)
    if refusal is not None:
        raise error_for(refusal)
    try:
        return httpx.Proxy(address.get_secret_value())
    except (httpx.InvalidURL, ValueError) as error:
        line = "the address of the proxy in the environment cannot be read: set HTTPS_PROXY anew"
        raise RequestError(Refusal(Code.CONFIG_INVALID, line)) from error


def _trust(ca_file: Path | None, ca_folder: Path | None) -> ssl.SSLContext:
    if ca_file is not None or ca_folder is not None:
        try:
            return ssl.create_default_context(cafile=ca_file, capath=ca_folder)
        except OSError as error:
            name = "SSL_CERT_FILE" if ca_file is not None else "SSL_CERT_DIR"
            line = f"{name} names {ca_file or ca_folder}, which holds no certificates"
            raise RequestError(Refusal(Code.CONFIG_INVALID, line)) from error
    paths = ssl.get_default_verify_paths()
    if any((paths.cafile, paths.capath)):
        return ssl.create_default_context()
    # Some builds of Python come without the system's authorities; httpx brings a list of its own.
    return httpx.create_ssl_context(trust_env=False)
