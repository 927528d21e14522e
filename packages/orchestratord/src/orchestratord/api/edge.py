"""The outermost ASGI application: matches the route, checks the caller, then calls one handler.

The check is bound to the row of the table that was matched, never to a path text. Hot rows go to
raw handlers, plain rows to FastAPI with the body already read within the row's cap.
"""

import itertools
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Final

import structlog

from orchestrator_core.errors import Code, LlorchError, Refusal
from orchestrator_core.ids import KeyId
from orchestratord.api.asgi import App, Message, Receive, Send
from orchestratord.api.asgi import Scope as AsgiScope
from orchestratord.api.gatekeeper import Denial, Gatekeeper, correlation_id_from
from orchestratord.api.heads import Marks
from orchestratord.api.matching import RouteMap, without_slash
from orchestratord.api.request import BROKEN, ClientGoneError, Request, read_body
from orchestratord.routes import Manner, Route, Scope
from orchestratord.runtime.keys.denials import Denials
from orchestratord.runtime.keys.keyring import Principal

__all__ = ["REQUEST_KEY", "Edge", "HotHandler"]

_log = structlog.get_logger(__name__)

HotHandler = Callable[[Request], Awaitable[None]]

REQUEST_KEY: Final = "llorch.request"
_NOBODY: Final = Principal(KeyId(""), "nobody", frozenset())
_UNMATCHED: Final = Route("GET", "", Scope.OPEN, Manner.PLAIN, "", "")


class Edge:
    """What uvicorn calls."""

    def __init__(
        self,
        *,
        routes: RouteMap,
        gatekeeper: Gatekeeper,
        denials: Denials,
        hot: Mapping[str, HotHandler],
        plain: App,
    ) -> None:
        self._routes = routes
        self._gatekeeper = gatekeeper
        self._denials = denials
        self._hot = hot
        self._plain = plain
        # Marks have to differ, not to be secret: a counter behind a nonce costs no system call.
        self._nonce = secrets.token_hex(8)
        self._counter = itertools.count()

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        marks = Marks.of(scope["headers"])
        request = self._request(marks, scope, receive, send)
        # Every request is a task with a context of its own: nothing has to be unbound.
        structlog.contextvars.bind_contextvars(correlation_id=request.correlation_id)
        try:
            await self._serve(request, marks)
        except ClientGoneError:
            return
        except LlorchError as problem:
            if not request.answered:
                await request.refuse(problem.refusal)
        except Exception as problem:  # noqa: BLE001 - the edge: no handler may end the daemon.
            _log.error("request.failed", path=scope["path"], exc_info=problem)
            if not request.answered:
                await request.refuse(Refusal(Code.INTERNAL, BROKEN))

    def _request(self, marks: Marks, scope: AsgiScope, receive: Receive, send: Send) -> Request:
        marker = correlation_id_from(marks.correlation_id)
        return Request(
            scope=scope,
            receive=receive,
            send=send,
            route=_UNMATCHED,
            params={},
            holder=_NOBODY,
            correlation_id=marker or f"{self._nonce}{next(self._counter):016x}",
        )

    async def _serve(self, request: Request, marks: Marks) -> None:
        refusal = self._pass(request, marks)
        if refusal is not None:
            if request.route is _UNMATCHED:
                # Refusals before the match still speak the dialect of the path they were sent to.
                request.route = replace(_UNMATCHED, path=request.scope["path"])
            await request.refuse(refusal)
        elif request.route.manner is Manner.HOT:
            await self._hot[request.route.handler](request)
        else:
            await self._serve_plain(request)

    def _pass(self, request: Request, marks: Marks) -> Refusal | None:
        scope = request.scope
        refusal = self._gatekeeper.check_host(marks)
        if refusal is not None:
            return refusal
        match = self._routes.find(scope["method"], scope["path"])
        if isinstance(match, Refusal):
            return match
        request.route, request.params = match.route, match.params
        if match.route.scope is Scope.OPEN:
            return None
        holder = self._gatekeeper.admit(match.route.scope, marks)
        if isinstance(holder, Denial):
            client: tuple[str, int] | None = scope.get("client")
            address = client[0] if client else ""
            return self._denials.tell(holder.reason, address) or holder.refusal
        request.holder = holder
        return None

    async def _serve_plain(self, request: Request) -> None:
        body = await read_body(request.scope, request.receive, request.route.body_cap_bytes)
        refusal = body if isinstance(body, Refusal) else None
        if refusal is None and body and request.holder is not _NOBODY:
            refusal = self._gatekeeper.still_admits(request.holder)
        if refusal is not None:
            await request.refuse(refusal)
            return
        marker = request.correlation_id.encode()

        async def replay() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def marked_send(message: Message) -> None:
            request.answered = True
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-correlation-id", marker)]
            await request.send(message)

        # FastAPI sees what the table matched; uvicorn keeps its own word on HEAD and sends no body.
        seen = {
            **request.scope,
            "method": request.route.method,
            "path": without_slash(request.scope["path"]),
            REQUEST_KEY: request,
        }
        await self._plain(seen, replay, marked_send)
