"""Serves contents to other pools: whole or in part, a few at a time, only to who keeps reading."""

import asyncio
import re
from typing import Final

import structlog
from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from orchestrator_core.errors import Code, LlorchError, Refusal
from pool_managerd.api.byte_ranges import Span, Unsatisfiable, span_of
from pool_managerd.api.replies import refused
from pool_managerd.runtime.outgoing import Content, Copy
from pool_managerd.runtime.pool import Pool

__all__ = ["BlobsApi", "not_shared"]

_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_KIND: Final = "application/octet-stream"
# Whoever takes nothing for so long gives its place to somebody else.
_STALL_S: Final = 60.0

_log: Final = structlog.stdlib.get_logger()


def not_shared() -> Refusal:
    """The one answer for what is not here and for what is not shared."""
    return Refusal(Code.NOT_FOUND, "nothing of that name is shared here")


class BlobsApi:
    """Answers with the contents of shared models."""

    def __init__(self, pool: Pool) -> None:
        self._outgoing = pool.outgoing

    async def blob(self, request: Request, sha256: str) -> Response:
        """Send a content, or the part of it that is asked for."""
        outgoing, content = self._outgoing, await self._open(sha256)
        if outgoing is None or isinstance(content, Refusal):
            return refused(content if isinstance(content, Refusal) else not_shared())
        headers = request.headers
        span = span_of(
            headers.get("range"),
            headers.get("if-range"),
            size_bytes=content.size_bytes,
            etag=_etag(sha256),
        )
        if isinstance(span, Unsatisfiable):
            content.close()
            return Response(status_code=416, headers=_unsatisfied(content, sha256))
        copy = outgoing.begin(content)
        if isinstance(copy, Refusal):
            content.close()
            return refused(copy)
        return _Sending(copy, span, _headers(content, span, sha256))

    async def head(self, sha256: str) -> Response:
        """Say whether a content is here and how long it is."""
        content = await self._open(sha256)
        if isinstance(content, Refusal):
            return refused(content)
        content.close()
        span = Span(0, content.size_bytes, is_part=False)
        return Response(headers=_headers(content, span, sha256), media_type=_KIND)

    async def _open(self, sha256: str) -> Content | Refusal:
        if self._outgoing is None or not _SHA256.fullmatch(sha256):
            return not_shared()
        content = await self._outgoing.content(sha256)
        return content if content is not None else not_shared()


class _Sending(StreamingResponse):
    """Gives its place back at the end, also when the reader has left or takes nothing any more."""

    def __init__(self, copy: Copy, span: Span, headers: dict[str, str]) -> None:
        status = 206 if span.is_part else 200
        pieces = copy.pieces(span.start, span.end)
        super().__init__(pieces, status_code=status, headers=headers, media_type=_KIND)
        self._copy = copy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_in_time(message: Message) -> None:
            async with asyncio.timeout(_STALL_S):
                await send(message)

        try:
            await super().__call__(scope, receive, send_in_time)
        except (LlorchError, TimeoutError, ClientDisconnect) as error:
            # The head has been sent: that the connection ends is all that can still be said.
            _log.info("blob.broken_off", reason=str(error) or type(error).__name__)
        finally:
            self._copy.close()


def _headers(content: Content, span: Span, sha256: str) -> dict[str, str]:
    headers = {
        "content-length": str(span.size_bytes),
        "accept-ranges": "bytes",
        "etag": _etag(sha256),
        "cache-control": "no-store",
    }
    if span.is_part:
        headers["content-range"] = f"bytes {span.start}-{span.end - 1}/{content.size_bytes}"
    return headers


def _unsatisfied(content: Content, sha256: str) -> dict[str, str]:
    return {"content-range": f"bytes */{content.size_bytes}", "etag": _etag(sha256)}


def _etag(sha256: str) -> str:
    return f'"{sha256}"'
