"""One request past the edge: who calls, which route, its body, and the ways to answer it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, TypeVar, cast

import orjson
from pydantic import BaseModel, ValidationError

from orchestrator_core.errors import Code, Refusal
from orchestratord.api.asgi import Receive, Scope, Send
from orchestratord.routes import Route
from orchestratord.runtime.keys.keyring import Principal
from orchestratord.serving.dialects import openai_errors

__all__ = [
    "BROKEN",
    "JSON",
    "ClientGoneError",
    "Request",
    "header",
    "headers_named",
    "read_body",
    "refusal_reply",
    "validation_refusal",
]

M = TypeVar("M", bound=BaseModel)
Headers = Sequence[tuple[bytes, bytes]]

JSON: Final[tuple[bytes, bytes]] = (b"content-type", b"application/json")

BROKEN: Final = "something broke on our side; the log has the details"
# The writer of JSON stops at 254 levels, the reader does not.
_BRACKETS_HARMLESS: Final = 250
_RETRY_AFTER_S: Final = 5


class ClientGoneError(Exception):
    """The client closed the connection while we waited for its body."""


def header(scope: Scope, name: bytes) -> str | None:
    """The value of a header; of several with one name the first."""
    headers: Headers = scope["headers"]
    for key, value in headers:
        if key == name:
            return value.decode("latin-1")
    return None


def headers_named(scope: Scope, name: bytes) -> list[str]:
    """The values of all headers with one name."""
    headers: Headers = scope["headers"]
    return [value.decode("latin-1") for key, value in headers if key == name]


class Request:
    """What a hot handler works with."""

    __slots__ = (
        "answered", "correlation_id", "holder", "params", "receive", "route", "scope", "send",
        "size_bytes",
    )  # fmt: skip

    def __init__(
        self,
        *,
        scope: Scope,
        receive: Receive,
        send: Send,
        route: Route,
        params: Mapping[str, str],
        holder: Principal,
        correlation_id: str,
    ) -> None:
        self.scope = scope
        self.receive = receive
        self.send = send
        self.route = route
        self.params = params
        self.holder = holder
        self.correlation_id = correlation_id
        # True from the first message on: after that nothing else can be said.
        self.answered = False
        # Of the body, once it was read.
        self.size_bytes = 0

    def query(self, name: str) -> str | None:
        """A query parameter as it was sent; our own are plain numbers and words."""
        text: bytes = self.scope["query_string"]
        for pair in text.decode("latin-1").split("&"):
            key, _, value = pair.partition("=")
            if key == name:
                return value
        return None

    async def body(self) -> bytes | Refusal:
        """Read the whole body within the route's cap."""
        body = await read_body(self.scope, self.receive, self.route.body_cap_bytes)
        if not isinstance(body, Refusal):
            self.size_bytes = len(body)
        return body

    async def parsed(self, model: type[M], refused: frozenset[str] = frozenset()) -> M | Refusal:
        """Read and check the body; fields that no caller may set are refused by name."""
        raw = await self.body()
        if isinstance(raw, Refusal):
            return raw
        try:
            found: object = orjson.loads(raw)
            if _nests_too_deeply(raw, found):
                return Refusal(Code.INVALID_REQUEST, "the body is nested too deeply")
            if refused and isinstance(found, dict):
                given = cast("dict[str, object]", found)
                for name in sorted(refused.intersection(given)):
                    if given[name] is not None:
                        text = f"{name} may not be set here"
                        return Refusal(Code.INVALID_REQUEST, text, {"param": name})
            return model.model_validate(found)
        except orjson.JSONDecodeError as problem:
            return Refusal(Code.INVALID_REQUEST, f"the body is not JSON: {problem}")
        except ValidationError as problem:
            return validation_refusal(problem.errors(include_url=False, include_input=False))

    async def reply(
        self, status: int, body: bytes, headers: Headers = (JSON,), *, more: bool = False
    ) -> None:
        """Send a response head and its first or only piece of body."""
        length = () if more else ((b"content-length", str(len(body)).encode()),)
        self.answered = True
        await self.send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [*headers, *length, *self._own_headers()],
            }
        )
        await self.send({"type": "http.response.body", "body": body, "more_body": more})

    async def refuse(self, refusal: Refusal) -> None:
        """Send a refusal in the dialect of the path."""
        status, body, headers = refusal_reply(refusal, self.route.path, self.correlation_id)
        await self.reply(status, body, headers)

    async def disconnected(self) -> None:
        """Return when the client has closed the connection."""
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                return

    def _own_headers(self) -> Headers:
        marker = self.correlation_id.encode()
        return ((b"x-correlation-id", marker), (b"x-request-id", marker))


async def read_body(scope: Scope, receive: Receive, cap_bytes: int) -> bytes | Refusal:
    """Collect a body; more than the cap is refused before it is read."""
    declared = header(scope, b"content-length")
    if declared is not None and declared.isdecimal() and int(declared) > cap_bytes:
        return _too_large(cap_bytes)
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > cap_bytes:
            return _too_large(cap_bytes)
        parts.append(part)
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def _too_large(cap_bytes: int) -> Refusal:
    return Refusal(Code.TOO_LARGE, f"the body is larger than {cap_bytes} bytes")


def _nests_too_deeply(raw: bytes, found: object) -> bool:
    """Tell whether what was read here could not be written to an engine."""
    if raw.count(b"{") + raw.count(b"[") <= _BRACKETS_HARMLESS:
        return False
    try:
        orjson.dumps(found)
    except orjson.JSONEncodeError:
        return True
    return False


def refusal_reply(
    refusal: Refusal, path: str, correlation_id: str
) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
    """Status, body and headers of a refusal: OpenAI's form on /v1, ours elsewhere."""
    if not refusal.message.isprintable():
        # What a caller sent may stand in it, and a line of ours is one line on every terminal.
        shown = (letter if letter.isprintable() else "\ufffd" for letter in refusal.message)
        refusal = replace(refusal, message="".join(shown))
    headers: list[tuple[bytes, bytes]] = [JSON]
    retry_later = refusal.outcome.retry_later
    if path.startswith("/v1/"):
        status = openai_errors.http_status(refusal)
        body = openai_errors.error_body(refusal)
        wait_s = openai_errors.retry_after_s(refusal)
        if not retry_later:
            # OpenAI's clients take a 409 or 5xx as an invitation to run the same call three times.
            headers.append((b"x-should-retry", b"false"))
    else:
        status, wait_s = refusal.outcome.http_status, refusal.retry_after_s
        body = orjson.dumps(
            {
                "error": {
                    "code": refusal.code,
                    "message": refusal.message,
                    "details": dict(refusal.details) or None,
                    "correlation_id": correlation_id,
                }
            }
        )
    if wait_s is None and retry_later:
        wait_s = _RETRY_AFTER_S
    if wait_s is not None:
        headers.append((b"retry-after", str(wait_s).encode()))
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    allow = refusal.details.get("allow")
    if isinstance(allow, str):
        headers.append((b"allow", allow.encode()))
    return status, body, headers


def validation_refusal(problems: Sequence[Mapping[str, object]]) -> Refusal:
    """Say the first thing that is wrong with a body, by the name of its field."""
    first = problems[0]
    place = cast("tuple[int | str, ...]", first.get("loc") or ())
    steps = [str(step) for step in place if step != "body"]
    field = ".".join(steps)
    message = str(first.get("msg", "is not valid")).removeprefix("Value error, ")
    text = f"{field}: {message}" if field else message
    return Refusal(Code.INVALID_REQUEST, text, {"param": field} if field else {})
