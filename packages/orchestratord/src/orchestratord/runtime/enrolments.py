"""The hosts that were enrolled: their rows in memory, written to the store before they count.

Whoever keeps links to hosts listens here; whoever enrols a host writes here.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from orchestrator_core.ids import PoolId
from orchestratord.store.rows import KeyRow, PoolRow

__all__ = ["RESERVED_NAMES", "Enrolments", "Joining", "Keeping"]

RESERVED_NAMES: Final = frozenset({"join", "join-tokens", "register"})
"""The API has paths of these names where those of pools would stand."""


@dataclass(frozen=True, slots=True)
class Joining:
    """The key that a host gets, and the hash of the token that it has brought for it, if it did."""

    key: KeyRow
    token_hash: str | None = None


class Keeping(Protocol):
    """Where rows outlive the process."""

    async def keep(self, row: PoolRow, joining: Joining | None) -> None:
        """Write a row, with the token that is used up for it and the key that it gets."""
        ...

    async def forget(self, pool_id: PoolId) -> None:
        """Delete a row, with everything that lets the pool in."""
        ...


class Enrolments:
    """All enrolled pools by name; without a place to keep them they live in memory only."""

    def __init__(self, rows: Iterable[PoolRow] = (), keeping: Keeping | None = None) -> None:
        self._rows = {row.id: row for row in rows}
        self._keeping = keeping
        self._listeners: list[Callable[[PoolId], None]] = []
        # One change at a time: the order on disk is the order in memory.
        self._turn = asyncio.Lock()

    def __len__(self) -> int:
        """How many pools are enrolled."""
        return len(self._rows)

    def rows(self) -> list[PoolRow]:
        """All of them, in the order of their names."""
        return [self._rows[name] for name in sorted(self._rows)]

    def row(self, pool_id: PoolId) -> PoolRow | None:
        """One of them, if it is enrolled."""
        return self._rows.get(pool_id)

    def listen(self, changed: Callable[[PoolId], None]) -> None:
        """Be told of each pool that was enrolled, changed or removed."""
        self._listeners.append(changed)

    async def put(self, row: PoolRow, joining: Joining | None = None) -> None:
        """Enrol a pool, or change it."""
        async with self._turn:
            if self._keeping is not None:
                await self._keeping.keep(row, joining)
            self._rows[row.id] = row
        self._tell(row.id)

    async def amend(self, old: PoolRow, new: PoolRow) -> bool:
        """Change a pool that is still as it was: False when somebody has changed or removed it."""
        async with self._turn:
            if self._rows.get(old.id) != old:
                return False
            if self._keeping is not None:
                await self._keeping.keep(new, None)
            self._rows[new.id] = new
        self._tell(new.id)
        return True

    async def remove(self, pool_id: PoolId) -> None:
        """Forget a pool, or the token of one that has not joined yet."""
        async with self._turn:
            if self._keeping is not None:
                await self._keeping.forget(pool_id)
            if self._rows.pop(pool_id, None) is None:
                return
        self._tell(pool_id)

    def _tell(self, pool_id: PoolId) -> None:
        for changed in self._listeners:
            changed(pool_id)
