"""Asks a worker to prove that it works: health, our key and nobody else's, one real answer.

A green health check alone says little: another program may have the port, the key may be wrong,
the model may load and still not compute.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, cast

import httpx

from orchestrator_core.contracts.tasks import TaskKind

__all__ = ["Readiness", "Stage", "Target", "check"]

_CONNECT_S: Final = 2.0
_HEALTH_S: Final = 2.0
_ANSWER_S: Final = 3600.0


class Stage(StrEnum):
    """How far a worker has come; a stranger is one whose keys are not those of our worker."""

    SILENT = "silent"
    LOADING = "loading"
    WRONG = "wrong"
    STRANGER = "stranger"
    READY = "ready"


@dataclass(frozen=True, slots=True)
class Readiness:
    """The stage and, where it is wrong, why."""

    stage: Stage
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to ask for what; is_ours tells whether the listener belongs to our process.

    A worker that was ready before may be busy with a long answer: it need not give us another.
    """

    url: str
    key: str
    model: str
    task: TaskKind
    is_ours: Callable[[], bool]
    was_ready: bool = False


async def check(
    target: Target,
    *,
    answer_s: float = _ANSWER_S,
    transport: httpx.AsyncBaseTransport | None = None,
) -> Readiness:
    """Go through all proofs once; anything that may still change is not wrong.

    A first answer of a large model on a slow disk takes long: whoever asks watches its progress.
    """
    async with httpx.AsyncClient(
        base_url=target.url,
        timeout=httpx.Timeout(_HEALTH_S, connect=_CONNECT_S),
        transport=transport or _loopback(),
        # No proxy may stand between us and our own loopback.
        trust_env=False,
    ) as client:
        try:
            return await _prove(client, target, answer_s)
        except httpx.HTTPError as error:
            return Readiness(Stage.SILENT, f"{type(error).__name__}: {error}")


def _loopback() -> httpx.AsyncHTTPTransport:
    # Plain HTTP needs no certificates; reading them would cost more than the whole check.
    once = httpx.Limits(max_keepalive_connections=0)
    return httpx.AsyncHTTPTransport(verify=False, limits=once)


async def _prove(client: httpx.AsyncClient, target: Target, answer_s: float) -> Readiness:
    health = await client.get("/health")
    if health.status_code == 503:
        return Readiness(Stage.LOADING)
    if health.status_code != 200:
        return Readiness(Stage.WRONG, f"health answers {health.status_code}")
    if not await asyncio.to_thread(target.is_ours):
        return Readiness(Stage.SILENT, "another process listens on the worker's port")
    bearer = {"Authorization": f"Bearer {target.key}"}
    doubt = await _prove_key(client, bearer)
    if doubt is not None:
        return doubt
    if target.was_ready:
        return Readiness(Stage.READY)
    path, body = _question(target)
    answer = await client.post(path, json=body, headers=bearer, timeout=answer_s)
    if answer.status_code == 200 and _has_answer(answer, target.task):
        return Readiness(Stage.READY)
    return Readiness(Stage.WRONG, f"a first request to {path} gave {answer.status_code}")


async def _prove_key(client: httpx.AsyncClient, bearer: Mapping[str, str]) -> Readiness | None:
    """Our key opens and no key does not; a server in trouble has said neither yes nor no."""
    nobody: Mapping[str, str] = {}
    asked = ((nobody, 401, "a caller without a key"), (bearer, 200, "our own key"))
    for headers, right, caller in asked:
        status = (await client.get("/v1/models", headers=headers)).status_code
        if status >= 500:
            return Readiness(Stage.SILENT, f"answers {status} for now")
        if status != right:
            return Readiness(Stage.STRANGER, f"answers {status} to {caller}")
    return None


def _question(target: Target) -> tuple[str, Mapping[str, object]]:
    match target.task:
        case TaskKind.GENERATE:
            # Untemplated, so that it also works for a model without a chat template.
            body = {"model": target.model, "prompt": "Hello", "max_tokens": 1}
            return "/v1/completions", body
        case TaskKind.EMBED:
            return "/v1/embeddings", {"model": target.model, "input": "Hello"}
        case TaskKind.RERANK:
            body = {"model": target.model, "query": "Hello", "documents": ["Hello"]}
            return "/v1/rerank", body


def _has_answer(answer: httpx.Response, task: TaskKind) -> bool:
    fields = {TaskKind.GENERATE: "choices", TaskKind.EMBED: "data", TaskKind.RERANK: "results"}
    try:
        body: object = answer.json()
    except ValueError:
        return False
    if not isinstance(body, dict):
        return False
    return bool(cast("dict[str, object]", body).get(fields[task]))
