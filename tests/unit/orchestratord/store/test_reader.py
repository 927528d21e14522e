"""The few connections that read: everybody gets one in turn, however often somebody asks."""

import asyncio
from pathlib import Path

from orchestratord.store.queries import load_queries
from orchestratord.store.reader import Reader
from orchestratord.store.sqlite import SqliteStore, StoreOptions


async def test_who_asks_again_and_again_passes_nobody(tmp_path: Path) -> None:
    path = tmp_path / "orchestrator.db"
    await (await SqliteStore.open(path, StoreOptions(synchronous="NORMAL"))).close()
    reader, order = Reader(load_queries()), list[str]()
    await reader.open(f"file:{path}?mode=ro", 1)

    async def ask(name: str, times: int) -> None:
        for _ in range(times):
            await reader.counts()
            order.append(name)

    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(ask("greedy", 20))
            for number in range(5):
                tasks.create_task(ask(f"modest {number}", 1))
    finally:
        await reader.close()
    assert order[:7] == ["greedy", *(f"modest {number}" for number in range(5)), "greedy"]
