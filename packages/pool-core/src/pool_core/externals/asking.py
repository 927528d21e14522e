"""Asks an external engine which models answer: its list, or one token where it keeps no list.

The server is not ours and its answers are untrusted: nothing is followed, everything is bounded.
"""

import asyncio
import json
import ssl
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final, cast

import httpx

from orchestrator_core.contracts.tasks import TaskKind
from orchestrator_core.errors import Code
from orchestrator_core.units import MIB
from pool_core.externals.life import Fault, Found
from pool_core.externals.settings import ExternalEngine

__all__ = ["look"]

_CONNECT_S: Final = 2.0
_LIST_S: Final = 5.0
# An engine that loads models on demand may load this one first.
_TOKEN_S: Final = 60.0
_BODY_MAX_BYTES: Final = 4 * MIB
_NO_LIST: Final = frozenset({404, 405, 501})
_LOCKED: Final = frozenset({401, 403})


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: object


async def look(
    engine: ExternalEngine,
    key: str | None,
    known: Collection[str],
    transport: httpx.AsyncBaseTransport | None = None,
) -> Found:
    """Look once; known are the models that have proven themselves and need not do so again."""
    # Plain HTTP needs no certificates; reading them takes longer than a loop may stand still.
    trust = await asyncio.to_thread(_trusted) if engine.url.startswith("https:") else False
    async with httpx.AsyncClient(
        # No proxy may stand between us and an address that the operator has named.
        trust_env=False,
        follow_redirects=False,
        headers={"accept-encoding": "identity"} | _bearer(key),
        timeout=httpx.Timeout(_LIST_S, connect=_CONNECT_S),
        transport=transport or httpx.AsyncHTTPTransport(verify=trust),
    ) as client:
        listed = await _ask(client, "GET", f"{engine.url}/models", engine)
        if isinstance(listed, Fault):
            return Found(fault=listed)
        if listed.status == 200:
            models = _names(listed.body)
            return (
                Found(fault=_odd(engine, "no list of models")) if models is None else Found(models)
            )
        if listed.status not in _NO_LIST:
            return Found(fault=_refused(engine, key, "models", listed.status))
        if not engine.models:
            line = f"{engine.url} keeps no list of models: name them in pool.toml"
            return Found(fault=Fault(Code.MODEL_NOT_FOUND, line))
        return await _prove(client, engine, key, known)


@cache
def _trusted() -> ssl.SSLContext:
    """What this system trusts, read once."""
    return ssl.create_default_context()


async def _prove(
    client: httpx.AsyncClient, engine: ExternalEngine, key: str | None, known: Collection[str]
) -> Found:
    """Ask every new model for one token, one after the other: loading two may be too much."""
    ready: list[str] = []
    faults: dict[str, Fault] = {}
    for upstream in dict.fromkeys(engine.models.values()):
        fault = None
        if upstream not in known:
            fault = await _first_word(client, engine, key, upstream)
        if fault is None:
            ready.append(upstream)
        else:
            faults[upstream] = fault
    return Found(tuple(ready), faults)


async def _first_word(
    client: httpx.AsyncClient, engine: ExternalEngine, key: str | None, upstream: str
) -> Fault | None:
    route, question, field = _question(engine.task, upstream)
    answer = await _ask(client, "POST", f"{engine.url}/{route}", engine, question)
    if isinstance(answer, Fault):
        return answer
    if answer.status != 200:
        return _refused(engine, key, route, answer.status)
    body = answer.body
    if isinstance(body, dict) and cast("dict[str, object]", body).get(field):
        return None
    return _odd(engine, f"a question to {upstream} with no answer")


def _question(task: TaskKind, model: str) -> tuple[str, Mapping[str, object], str]:
    match task:
        case TaskKind.GENERATE:
            hello = [{"role": "user", "content": "Hello"}]
            body = {"model": model, "messages": hello, "max_tokens": 1}
            return "chat/completions", body, "choices"
        case TaskKind.EMBED:
            return "embeddings", {"model": model, "input": "Hello"}, "data"
        case TaskKind.RERANK:
            body = {"model": model, "query": "Hello", "documents": ["Hello"]}
            return "rerank", body, "results"


async def _ask(
    client: httpx.AsyncClient,
    method: str,
    url: str,
    engine: ExternalEngine,
    body: Mapping[str, object] | None = None,
) -> _Answer | Fault:
    patience = httpx.Timeout(_LIST_S if body is None else _TOKEN_S, connect=_CONNECT_S)
    try:
        async with client.stream(method, url, json=body, timeout=patience) as response:
            read = bytearray()
            async for piece in response.aiter_bytes():
                read += piece
                if len(read) > _BODY_MAX_BYTES:
                    return _odd(engine, "more than is read")
    except (httpx.ReadTimeout, httpx.WriteTimeout) as error:
        line = f"{engine.url} does not answer: {type(error).__name__}"
        return Fault(Code.UNREACHABLE, line, slow=True)
    except httpx.HTTPError as error:
        line = f"{engine.url} cannot be reached: {str(error) or type(error).__name__}"
        return Fault(Code.UNREACHABLE, line)
    try:
        return _Answer(response.status_code, cast("object", json.loads(bytes(read))))
    except (ValueError, RecursionError):
        return _Answer(response.status_code, None)


def _names(body: object) -> tuple[str, ...] | None:
    """The ids in a list of models; None when it is no such list."""
    if not isinstance(body, dict):
        return None
    cards = cast("dict[str, object]", body).get("data")
    if cards is None:
        # Some servers without a model say null where others say [].
        return () if "data" in body else None
    if not isinstance(cards, list):
        return None
    entries = cast("list[object]", cards)
    names = [
        cast("dict[str, object]", card).get("id") for card in entries if isinstance(card, dict)
    ]
    return tuple(name for name in names if isinstance(name, str))


def _bearer(key: str | None) -> dict[str, str]:
    return {} if key is None else {"authorization": f"Bearer {key}"}


def _refused(engine: ExternalEngine, key: str | None, route: str, status: int) -> Fault:
    if status in _LOCKED:
        want = "wants a key: set key_file" if key is None else "refuses the key in key_file"
        return Fault(Code.BAD_KEY, f"{engine.url} {want} (it answers {status})")
    return Fault(Code.ENGINE_ERROR, f"{engine.url}/{route} answers {status}")


def _odd(engine: ExternalEngine, what: str) -> Fault:
    return Fault(Code.ENGINE_ERROR, f"{engine.url} answers {what}")
