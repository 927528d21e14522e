"""Opens the same job store again and again, by any of its adapters."""

from pathlib import Path
from typing import Final, Literal, Protocol

from orchestratord.store.memory import MemoryStore
from orchestratord.store.memory_tables import MemoryTables
from orchestratord.store.port import JobStore
from orchestratord.store.sqlite import SqliteStore, StoreOptions
from orchestratord.store.writer import QUEUE_LIMIT

__all__ = ["ADAPTERS", "Adapter", "Reopen", "StoreHouse"]

Adapter = Literal["memory", "sqlite"]
ADAPTERS: Final[tuple[Adapter, ...]] = ("memory", "sqlite")


class Reopen(Protocol):
    """Closes the store that is open and opens it again."""

    async def __call__(self, *, queue_limit: int = QUEUE_LIMIT) -> JobStore: ...


class StoreHouse:
    """What outlives a store: the tables of the memory adapter, the file of the other."""

    def __init__(self, adapter: Adapter, folder: Path) -> None:
        self._adapter = adapter
        self._path = folder / "orchestrator.db"
        self._tables = MemoryTables()
        self._open: JobStore | None = None

    async def reopen(self, *, queue_limit: int = QUEUE_LIMIT) -> JobStore:
        await self.close()
        if self._adapter == "memory":
            self._open = MemoryStore(self._tables, queue_limit=queue_limit)
        else:
            options = StoreOptions(queue_limit=queue_limit, readers=2)
            self._open = await SqliteStore.open(self._path, options)
        return self._open

    async def close(self) -> None:
        if self._open is not None:
            await self._open.close()
