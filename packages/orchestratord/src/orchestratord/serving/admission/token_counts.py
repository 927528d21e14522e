"""Asks a worker how many tokens a prompt has; whatever goes wrong means that nobody knows.

Only for prompts whose bytes prove nothing. The worker counts beside its slots, so that no answer
waits for it.
"""

from collections.abc import Iterable
from typing import Final

import orjson

from orchestrator_core.ids import PoolId, WorkerId
from orchestrator_core.units import MIB
from orchestratord.runtime.workerbook import WorkerAddress, WorkerBook
from orchestratord.upstream.exchange import Fault
from orchestratord.upstream.loose import Json, as_count, as_object
from orchestratord.upstream.plain import call

__all__ = ["TokenCounts"]

_CHAT: Final = "/v1/chat/completions/input_tokens"
_RAW: Final = "/tokenize"
_TIMEOUT_S: Final = 2.0
# Long prompts keep an engine's threads busy for half a second per megabyte.
_AT_ONCE: Final = 8
# A raw prompt comes back as numbers, each with its comma.
_ANSWER_BYTES: Final = 16 * MIB

# What the engine's template reads of a chat.
_TEMPLATE_FIELDS: Final = ("messages", "tools", "tool_choice", "chat_template_kwargs")


class TokenCounts:
    """Counts with the first of the workers that serve a model."""

    def __init__(self, book: WorkerBook, timeout_s: float = _TIMEOUT_S) -> None:
        self._book = book
        self._timeout_s = timeout_s
        self._under_way = 0

    def is_foreign(self, workers: Iterable[tuple[PoolId, WorkerId]]) -> bool:
        """True when an engine that is not ours is among these workers."""
        found = (self._book.find(pool_id, worker_id) for pool_id, worker_id in workers)
        return any(it is not None and it.external is not None for it in found)

    async def count(self, workers: Iterable[tuple[PoolId, WorkerId]], words: Json) -> int | None:
        """The exact number of the prompt's tokens; None when no worker of ours tells it."""
        worker = self._find(workers)
        if worker is None or self._under_way >= _AT_ONCE:
            return None
        self._under_way += 1
        try:
            return await self._ask(worker, words)
        finally:
            self._under_way -= 1

    def _find(self, workers: Iterable[tuple[PoolId, WorkerId]]) -> WorkerAddress | None:
        found = (self._book.find(pool_id, worker_id) for pool_id, worker_id in workers)
        return next((it for it in found if it is not None), None)

    async def _ask(self, worker: WorkerAddress, words: Json) -> int | None:
        raw = bool(words.get("raw"))
        reply = await call(
            (worker.host, worker.port),
            "POST",
            _RAW if raw else _CHAT,
            bearer=worker.key,
            body=orjson.dumps(_question(words, raw=raw)),
            timeout_s=self._timeout_s,
            limit_bytes=_ANSWER_BYTES,
            road=worker.road,
        )
        if isinstance(reply, Fault) or reply.status != 200:
            return None
        return _read(reply.body, raw=raw)


def _question(words: Json, *, raw: bool) -> Json:
    if raw:
        return {"content": words["prompt"], "add_special": True}
    if "messages" in words:
        return {name: words[name] for name in _TEMPLATE_FIELDS if name in words}
    return {"messages": [{"role": "user", "content": words["prompt"]}]}


def _read(body: bytes, *, raw: bool) -> int | None:
    try:
        found = as_object(orjson.loads(body)) or {}
    except orjson.JSONDecodeError:
        return None
    if not raw:
        return as_count(found.get("input_tokens")) or None
    tokens = found.get("tokens")
    return len(tokens) if isinstance(tokens, list) else None  # pyright: ignore[reportUnknownArgumentType] - only its length is read.
