"""The one HTTP client towards a hub: bounded answers, judged redirects, one clear line per fault.

Nothing is read from the environment, and no message or log ever carries a token or the query of a
signed link.
"""

import contextlib
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from importlib import metadata
from types import TracebackType
from typing import Final, Self

import httpx

from orchestrator_core.errors import Code, PeerError, Refusal
from pool_core.fetch.errand import LeftError, Stop
from pool_core.fetch.faults import Cause, fault_of, left, peer_error
from pool_core.fetch.origin import REDIRECTS_MAX, Hop, headers_for
from pool_core.fetch.proxying import proxy_for
from pool_core.fetch.routes import Resolve, Routes, addresses_of, hop_of
from pool_core.fetch.settings import WebSettings
from pool_core.fetch.streams import Stream

__all__ = ["Reply", "Web"]

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_ADDRESS_MAX_LENGTH: Final = 8192


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str


class Web:
    """A client of one hub; a context manager, and safe to share between threads.

    With stop nothing waits for long after that says so: what was asked ends with CANCELLED.
    """

    def __init__(self, settings: WebSettings, resolve: Resolve, stop: Stop | None) -> None:
        self._settings = settings
        self._stop = stop
        self._routes = Routes(settings, resolve)
        version = metadata.version("llorch-pool-core")
        self._own = {"user-agent": f"llorch/{version}", "accept-encoding": "identity"}
        timeout = httpx.Timeout(settings.read_timeout_s, connect=settings.connect_timeout_s)
        self._extensions = {"timeout": timeout.as_dict()}

    @classmethod
    def open(
        cls, settings: WebSettings, *, resolve: Resolve = addresses_of, stop: Stop | None = None
    ) -> "Web":
        """Make a client; nothing is connected yet."""
        return cls(settings, resolve, stop)

    @property
    def settings(self) -> WebSettings:
        """How the hub is called."""
        return self._settings

    def is_stopped(self) -> bool:
        """True when nobody wants to wait for anything any more."""
        return self._stop is not None and self._stop()

    def get(self, url: str, *, headers: Mapping[str, str] | None = None, max_bytes: int) -> Reply:
        """Fetch a whole answer; redirects are followed, a longer body is a PeerError."""
        with self._answer("GET", url, headers or {}) as stream:
            body = bytearray()
            if stream.headers.get("content-encoding", "identity") != "identity":
                raise _odd(stream.url, "with a packed body that was not asked for")
            for piece in stream.chunks():
                body += piece
                if len(body) > max_bytes:
                    raise _odd(stream.url, f"with more than the {max_bytes} bytes that are read")
            return Reply(stream.status, stream.headers, bytes(body), stream.url)

    def head(self, url: str) -> Reply:
        """Ask for the headers; no redirect is followed."""
        with self._answer("HEAD", url, {}, follow=False) as stream:
            return Reply(stream.status, stream.headers, b"", stream.url)

    @contextlib.contextmanager
    def stream(
        self,
        url: str,
        *,
        start: int = 0,
        end: int | None = None,
        if_range: str | None = None,
        stop: Stop | None = None,
    ) -> Generator[Stream]:
        """Fetch the bytes from start on, or those before end; redirects are followed."""
        headers: dict[str, str] = {}
        if start > 0 or end is not None:
            headers["range"] = f"bytes={start}-{'' if end is None else end - 1}"
            if if_range is not None:
                headers["if-range"] = if_range
        with self._answer("GET", url, headers, stop=stop) as stream:
            yield stream

    def close(self) -> None:
        """Close all connections that are kept."""
        self._routes.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @contextlib.contextmanager
    def _answer(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        *,
        follow: bool = True,
        stop: Stop | None = None,
    ) -> Generator[Stream]:
        place, stop = _parsed(url), stop or self._stop
        follow = follow and self._settings.follows_redirects
        hub_headers: dict[str, str] = {}
        for hops in range(REDIRECTS_MAX + 1):
            response = self._ask(method, place, headers, stop)
            try:
                is_hub = hop_of(place).is_same_origin(self._routes.hub)
                if is_hub:
                    hub_headers.update(response.headers)
                target = response.headers.get("location")
                if not follow or response.status_code not in _REDIRECTS or target is None:
                    yield Stream(
                        response,
                        place,
                        hub_headers=hub_headers,
                        # A hub that only knows the repository by a new name has sent us nowhere.
                        hops=0 if is_hub else hops,
                        timeout_s=self._settings.read_timeout_s,
                        stop=stop,
                    )
                    return
            finally:
                response.close()
            place = _parsed(target, place)
        raise _odd(str(place), f"with more than {REDIRECTS_MAX} redirects")

    def _ask(
        self, method: str, place: httpx.URL, headers: Mapping[str, str], stop: Stop | None
    ) -> httpx.Response:
        hop, token = hop_of(place), self._settings.token
        secret = token.get_secret_value() if token is not None else None
        carried = headers_for(hop, self._routes.hub, {**self._own, **headers}, secret)
        request = httpx.Request(method, place, headers=carried, extensions=self._extensions)
        try:
            return self._routes.send(request, stop)
        except LeftError as error:
            raise left(hop) from error
        except (httpx.HTTPError, OSError) as error:
            raise fault_of(
                error,
                hop,
                read_timeout_s=self._settings.read_timeout_s,
                is_proxied=proxy_for(hop, self._settings.proxies) is not None,
            ) from error


def _parsed(url: str, base: httpx.URL | None = None) -> httpx.URL:
    unreadable = PeerError(Refusal(Code.INTERNAL, "the hub names an address that nobody can read"))
    if len(url) > _ADDRESS_MAX_LENGTH:
        raise unreadable
    try:
        return httpx.URL(url) if base is None else base.join(url)
    except (httpx.InvalidURL, ValueError) as error:
        raise unreadable from error


def _odd(url: str, what: str) -> PeerError:
    hop: Hop = hop_of(httpx.URL(url))
    return peer_error(Code.INTERNAL, f"{hop.host} answers {what}", Cause.ANSWER)
