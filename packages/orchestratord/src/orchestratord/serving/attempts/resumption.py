"""Makes the request that goes on behind a kept beginning: two small questions to the worker.

The worker renders the messages as it did for the first attempt, and cuts what is kept into tokens.
Handing over tokens keeps text that looks like a control token from being read as one, and tells
exactly how many of the prompt's tokens are ours when usage is added up.
"""

from dataclasses import dataclass
from typing import Final

import orjson

from orchestrator_core.errors import Code, Refusal
from orchestrator_core.units import MIB
from orchestratord.runtime.jobs.kept_text import KeptText
from orchestratord.runtime.jobs.live import EngineRequest, Wording
from orchestratord.runtime.workerbook import WorkerAddress
from orchestratord.serving.attempts.spelling import ANCHOR, read_tokens, spelling_of
from orchestratord.upstream.exchange import Fault
from orchestratord.upstream.loose import Json, as_object, as_text
from orchestratord.upstream.plain import call

__all__ = ["Hindrance", "Rest", "Spent", "word_rest"]

_TEMPLATE: Final = "/apply-template"
_TOKENIZE: Final = "/tokenize"
# Neither question waits for a slot: an engine that takes longer does not work.
_TIMEOUT_S: Final = 10.0
# Rendered messages can be larger than the call they came with: a template repeats and escapes.
_LIMIT_BYTES: Final = 64 * MIB
_NOT_NOW: Final = frozenset({429, 503})


@dataclass(frozen=True, slots=True)
class Rest:
    """The request for what is missing, and how many tokens of the answer it hands over."""

    request: EngineRequest
    kept_tokens: int
    made_tokens: int


@dataclass(frozen=True, slots=True)
class Spent:
    """Nothing is missing: what is kept is as long as the answer may be."""


@dataclass(frozen=True, slots=True)
class Hindrance:
    """Why this worker cannot go on; another one may."""

    refusal: Refusal


async def word_rest(
    word: Wording, kept: KeptText, worker: WorkerAddress, correlation_id: str
) -> Rest | Spent | Hindrance:
    """Ask the worker what it takes to go on, and word the request."""
    if kept.tokens >= word.limit:
        return Spent()
    prompt = await _prompt(word, worker, correlation_id)
    if isinstance(prompt, Hindrance):
        return prompt
    tokens = await _tokens(kept.text, worker, correlation_id)
    if isinstance(tokens, Hindrance):
        return tokens
    made = max(kept.tokens, len(tokens))
    if made >= word.limit:
        return Spent()
    request = word.rest(worker, (prompt, *tokens), word.limit - made)
    return Rest(request, len(tokens), made)


async def _prompt(word: Wording, worker: WorkerAddress, correlation_id: str) -> str | Hindrance:
    beginning = word.beginning()
    if beginning.prompt is not None:
        return beginning.prompt
    told = await _ask(worker, _TEMPLATE, beginning.to_render, correlation_id)
    if isinstance(told, Hindrance):
        return told
    return as_text(told.get("prompt")) or _nonsense(_TEMPLATE)


async def _tokens(
    text: str, worker: WorkerAddress, correlation_id: str
) -> tuple[int, ...] | Hindrance:
    for whole in (text, ANCHOR + text):
        asked = {"content": whole, "add_special": False, "parse_special": False}
        body = orjson.dumps(asked | {"with_pieces": True})
        told = await _ask(worker, _TOKENIZE, body, correlation_id)
        if isinstance(told, Hindrance):
            return told
        tokens = read_tokens(told)
        if not tokens:
            break
        if spelled := spelling_of(text, tokens):
            return spelled
    return _nonsense(_TOKENIZE)


async def _ask(
    worker: WorkerAddress, target: str, body: bytes, correlation_id: str
) -> Json | Hindrance:
    reply = await call(
        (worker.host, worker.port),
        "POST",
        target,
        bearer=worker.key,
        body=body,
        timeout_s=_TIMEOUT_S,
        limit_bytes=_LIMIT_BYTES,
        correlation_id=correlation_id,
        road=worker.road,
    )
    # The job itself did not reach the engine, so it is not to blame for what broke there, and its
    # client has asked for nothing that could be wrong: another worker may do better.
    if isinstance(reply, Fault):
        return Hindrance(Refusal(Code.UNREACHABLE, reply.message))
    if reply.status != 200:
        code = Code.LOADING if reply.status in _NOT_NOW else Code.UNREACHABLE
        return Hindrance(Refusal(code, f"the worker answered {target} with {reply.status}"))
    try:
        return as_object(orjson.loads(reply.body)) or {}
    except orjson.JSONDecodeError:
        return _nonsense(target)


def _nonsense(target: str) -> Hindrance:
    message = f"the worker's answer to {target} makes no sense"
    return Hindrance(Refusal(Code.UNREACHABLE, message))
