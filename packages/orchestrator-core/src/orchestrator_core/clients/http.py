"""The two ways to call a daemon: HttpCaller blocks (commands), AsyncHttpCaller awaits (daemons).

Both send the key as a bearer token, ignore proxy variables, and raise only errors of the tree.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from types import TracebackType
from typing import Final, Self, TypeVar

import httpx
from pydantic import BaseModel

from orchestrator_core.clients.replies import Peer, read_reply, refused, unreachable
from orchestrator_core.clients.trust import Trust
from orchestrator_core.errors import Code, PeerError, Refusal, RequestError
from orchestrator_core.units import MIB, format_bytes

__all__ = ["AsyncHttpCaller", "HttpCaller", "Query"]

M = TypeVar("M", bound=BaseModel)
Query = Mapping[str, str | int | None]

_CONNECT_TIMEOUT_S: Final = 5.0
# Servers close idle connections after 5 s: keeping ours shorter avoids writing into a closed one.
_LIMITS: Final = httpx.Limits(keepalive_expiry=2.0)
# What a pool with thousands of models says of itself is shorter.
_ANSWER_LIMIT_BYTES: Final = 16 * MIB


def _headers(key: str | None) -> dict[str, str]:
    if not key:
        return {}
    if not (key.isascii() and key.isprintable()):
        raise RequestError(Refusal(Code.BAD_KEY, "the key holds characters that no key has"))
    return {"authorization": f"Bearer {key}"}


def _timeout(timeout_s: float) -> httpx.Timeout:
    return httpx.Timeout(timeout_s, connect=min(timeout_s, _CONNECT_TIMEOUT_S))


def _given(query: Query | None) -> dict[str, str | int]:
    return {name: value for name, value in (query or {}).items() if value is not None}


def _body(body: BaseModel | None) -> bytes | None:
    return body.model_dump_json(exclude_none=True).encode("utf-8") if body is not None else None


def _request_headers(body: BaseModel | None, headers: Mapping[str, str] | None) -> dict[str, str]:
    kind = {"content-type": "application/json"} if body is not None else {}
    return {**kind, **(headers or {})}


class HttpCaller:
    """A blocking caller of one daemon; close it, or use it as a context manager."""

    def __init__(
        self,
        peer: Peer,
        key: str | None,
        *,
        timeout_s: float = 30.0,
        trust: Trust | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.peer = peer
        try:
            self._client = httpx.Client(
                base_url=peer.url,
                headers=_headers(key),
                timeout=_timeout(timeout_s),
                verify=True if trust is None else trust.context(),
                trust_env=False,
                transport=transport,
            )
        except httpx.InvalidURL as error:
            raise unreachable(peer, error) from error

    @property
    def client(self) -> httpx.Client:
        """The open httpx client, for calls that stream."""
        return self._client

    def call(
        self,
        method: str,
        path: str,
        reply: type[M],
        *,
        body: BaseModel | None = None,
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> M:
        """Make one call and read its answer."""
        return read_reply(
            self.peer,
            self.send(method, path, body=body, query=query, headers=headers, timeout_s=timeout_s),
            reply,
        )

    def send(
        self,
        method: str,
        path: str,
        *,
        body: BaseModel | None = None,
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> httpx.Response:
        """Make one call and hand back whatever was answered."""
        try:
            return self._client.request(
                method,
                path,
                content=_body(body),
                params=_given(query),
                headers=_request_headers(body, headers),
                timeout=_timeout(timeout_s) if timeout_s else httpx.USE_CLIENT_DEFAULT,
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise unreachable(self.peer, error) from error

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class AsyncHttpCaller:
    """An awaiting caller of one daemon; close it, or use it as a context manager."""

    def __init__(
        self,
        peer: Peer,
        key: str | None,
        *,
        timeout_s: float = 10.0,
        trust: Trust | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.peer = peer
        self._trust = trust
        self._timeout_s = timeout_s

        def open_client() -> httpx.AsyncClient:
            return httpx.AsyncClient(
                base_url=peer.url,
                headers=_headers(key),
                timeout=_timeout(timeout_s),
                limits=_LIMITS,
                verify=True if trust is None else trust.context(),
                trust_env=False,
                transport=transport,
            )

        self._open_client = open_client
        try:
            self._client = open_client()
        except httpx.InvalidURL as error:
            raise unreachable(peer, error) from error

    async def call(
        self,
        method: str,
        path: str,
        reply: type[M],
        *,
        body: BaseModel | None = None,
        timeout_s: float | None = None,
    ) -> M:
        """Make one call and read its answer."""
        limit_s = timeout_s or self._timeout_s
        try:
            # The whole call, too: a peer that sends a byte now and then must not hold us for ever.
            async with (
                asyncio.timeout(limit_s + _CONNECT_TIMEOUT_S),
                self._client.stream(
                    method,
                    path,
                    content=_body(body),
                    headers=_request_headers(body, None),
                    timeout=_timeout(limit_s),
                ) as response,
            ):
                whole = await self._whole(response)
        except TimeoutError as error:
            raise unreachable(self.peer, httpx.ReadTimeout("")) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            await self._trust_anew(error)
            raise unreachable(self.peer, error) from error
        return read_reply(self.peer, whole, reply)

    @contextlib.asynccontextmanager
    async def streaming(
        self, path: str, *, timeout: httpx.Timeout
    ) -> AsyncGenerator[AsyncIterator[bytes]]:
        """Read an answer piece by piece, as it comes; errors of the tree for whatever goes wrong."""
        headers = {"accept": "text/event-stream"}
        try:
            async with self._client.stream(
                "GET", path, headers=headers, timeout=timeout
            ) as response:
                if not response.is_success:
                    raise refused(self.peer, await self._whole(response))
                yield response.aiter_bytes()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise unreachable(self.peer, error) from error

    async def _whole(self, response: httpx.Response) -> httpx.Response:
        """Read an answer to its end; a peer that never comes to one must not take our memory."""
        pieces: list[bytes] = []
        size = 0
        async for piece in response.aiter_bytes():
            size += len(piece)
            if size > _ANSWER_LIMIT_BYTES:
                limit = format_bytes(_ANSWER_LIMIT_BYTES)
                text = f"{self.peer.name} at {self.peer.url} answered with more than {limit}"
                raise PeerError(Refusal(Code.INTERNAL, text))
            pieces.append(piece)
        headers = response.headers.copy()
        # The pieces are decoded already.
        headers.pop("content-encoding", None)
        return httpx.Response(
            response.status_code,
            headers=headers,
            content=b"".join(pieces),
            request=response.request,
            extensions=response.extensions,
        )

    async def _trust_anew(self, error: httpx.HTTPError | httpx.InvalidURL) -> None:
        """A peer that came back with another certificate is known again by the next call."""
        if self._trust is not None and isinstance(error, httpx.ConnectError):
            old, self._client = self._client, self._open_client()
            await old.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()
