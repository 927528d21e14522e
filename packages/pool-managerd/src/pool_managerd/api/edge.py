"""The outermost ASGI layer: correlation id, host check, body cap, log line, last resort.

Plain ASGI, since a layer that buffers would break streams. What comes through goes to FastAPI.
"""

from typing import Final

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator_core.errors import Code, Refusal
from orchestrator_core.units import MIB
from pool_managerd.api import correlation
from pool_managerd.api.guard import HostGuard
from pool_managerd.api.replies import refused

__all__ = ["BODY_LIMIT_BYTES", "Edge", "internal_error"]

BODY_LIMIT_BYTES: Final = MIB

_log: Final = structlog.stdlib.get_logger()


class Edge:
    """Wraps the whole API."""

    def __init__(self, app: ASGIApp, hosts: HostGuard) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call."""
        if scope["type"] != "http":
            raise RuntimeError(f"this API speaks HTTP only, not {scope['type']}")
        headers = Headers(scope=scope)
        correlation_id = correlation.accept(headers.get(correlation.HEADER))
        answer = _Answer(send, correlation_id)
        with structlog.contextvars.bound_contextvars(correlation_id=correlation_id):
            refusal = self._check(headers)
            if refusal is not None:
                await refused(refusal)(scope, receive, answer.send)
            else:
                await self._pass_on(scope, receive, answer)
            if scope["method"] != "GET" or answer.status >= 400:
                _log.info(
                    "api.answered",
                    method=scope["method"],
                    path=scope["path"],
                    status=answer.status,
                )

    async def _pass_on(self, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        try:
            await self._app(scope, _capped(receive), answer.send)
        except Exception:  # noqa: BLE001 - the process's edge: one line to the caller, all to the log.
            _log.exception("api.failed", method=scope["method"], path=scope["path"])
            if not answer.status:
                await refused(internal_error())(scope, receive, answer.send)

    def _check(self, headers: Headers) -> Refusal | None:
        refusal = self._hosts.check(headers.getlist("host"), headers.get("origin"))
        if refusal is not None:
            return refusal
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > BODY_LIMIT_BYTES:
            return _too_large()
        return None


def internal_error() -> Refusal:
    """What a caller is told when we failed in a way nobody foresaw."""
    return Refusal(Code.INTERNAL, "pool-managerd failed to answer; its log says why")


class _Answer:
    """Passes an answer on, marks it with the correlation id and remembers its status."""

    def __init__(self, send: Send, correlation_id: str) -> None:
        self._send = send
        self._correlation_id = correlation_id
        self.status = 0

    async def send(self, message: Message) -> None:
        """Send one message of the answer."""
        if message["type"] == "http.response.start":
            self.status = int(message["status"])
            MutableHeaders(scope=message)[correlation.HEADER] = self._correlation_id
        await self._send(message)


def _capped(receive: Receive) -> Receive:
    """Count a body that did not announce its length."""
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        if message["type"] == "http.request":
            seen += len(message.get("body", b""))
            if seen > BODY_LIMIT_BYTES:
                raise HTTPException(413, _too_large().message)
        return message

    return counted


def _too_large() -> Refusal:
    return Refusal(Code.TOO_LARGE, f"the body is larger than {BODY_LIMIT_BYTES // MIB} MiB")
