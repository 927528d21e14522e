"""What was used: everyone sees the usage of their own key, operators that of all."""

import contextlib
import re
from datetime import UTC, datetime
from typing import Final

from fastapi import Request

from orchestrator_core.clock import Clock, rfc3339
from orchestrator_core.contracts.keys import UsageList, UsageView
from orchestrator_core.errors import CapacityError, Code, Refusal, RequestError, error_for
from orchestrator_core.ids import KeyId
from orchestratord.api.control.holder import holder_of
from orchestratord.runtime.keys.keyring import KeyRing, Principal
from orchestratord.runtime.upkeep.usage_book import UsageBook
from orchestratord.store.port import JobStore
from orchestratord.store.writes import NoteKeyUse

__all__ = ["UsageHandlers", "read_since"]

_PERIOD: Final = re.compile(r"([0-9]{1,6})([hd])")
_MS_PER: Final = {"h": 3_600_000, "d": 86_400_000}


class UsageHandlers:
    """The route /v2/usage."""

    def __init__(self, *, store: JobStore, book: UsageBook, keys: KeyRing, clock: Clock) -> None:
        self._store = store
        self._book = book
        self._keys = keys
        self._clock = clock

    async def show(
        self, request: Request, since: str | None = None, key: str | None = None
    ) -> UsageList:
        """Sum up usage per key and model."""
        since_ms = None if since is None else read_since(since, self._clock.unix_ms())
        if isinstance(since_ms, Refusal):
            raise error_for(since_ms)
        owner = self._owner(holder_of(request), key)
        await self._catch_up()
        totals = await self._store.usage_totals(key_id=owner, since_ms=since_ms)
        names = self._keys.names()
        items = [
            UsageView(
                key_id=total.key_id,
                key_name=names.get(total.key_id),
                model=total.model,
                jobs=total.jobs,
                completed=total.completed,
                prompt_tokens=total.prompt_tokens,
                completion_tokens=total.completion_tokens,
            )
            for total in totals
        ]
        return UsageList(items=items, since=None if since_ms is None else rfc3339(since_ms))

    def _owner(self, holder: Principal, key: str | None) -> KeyId | None:
        """Whose usage is wanted; of a key of somebody else one learns not even that it is there."""
        if key is None:
            return None if holder.sees_all else holder.key_id
        is_seen = holder.sees_all or key == holder.key_id
        if not is_seen or self._keys.row(key) is None:
            raise RequestError(Refusal(Code.KEY_NOT_FOUND, f"there is no key {key}"))
        return KeyId(key)

    async def _catch_up(self) -> None:
        """Bring in what has just ended: an empty write is applied behind all that were handed in."""
        self._book.flush()
        # A store that is too busy for it still tells what it knows.
        with contextlib.suppress(CapacityError):
            await self._store.submit(NoteKeyUse({}))


def read_since(text: str, now_ms: int) -> int | Refusal:
    """Read a moment as a date of RFC 3339, or as hours or days back: 24h, 7d."""
    period = _PERIOD.fullmatch(text)
    if period is not None:
        return max(0, now_ms - int(period[1]) * _MS_PER[period[2]])
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return max(0, min(int(moment.timestamp() * 1000), now_ms))
    except (ValueError, OverflowError):
        example = "2026-01-31T00:00:00Z, or 24h or 7d for a time back"
        return Refusal(
            Code.INVALID_REQUEST, f"since is a moment like {example}", {"param": "since"}
        )
