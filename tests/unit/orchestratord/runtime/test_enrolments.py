"""Enrolled hosts in memory: written before they count, one change after the other."""

import asyncio
from dataclasses import replace

import pytest

from orchestrator_core.errors import Code, HostError, Refusal
from orchestrator_core.ids import PoolId
from orchestrator_core.testing.clocks import FakeClock
from orchestratord.runtime.enrolments import Enrolments, Joining
from orchestratord.runtime.keys.keyring import KeyRing
from orchestratord.runtime.stored_pools import StoredPools
from orchestratord.store.memory import MemoryStore
from orchestratord.store.rows import PoolRow

MAC, BOX = PoolId("mac"), PoolId("box")
ROW = PoolRow(id=MAC, created_at_ms=1, endpoint="ssh://mac", join_token="token")


class SlowBook:
    """Keeps rows only once the test lets it."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.done: list[str] = []
        self.broken = False

    async def keep(self, row: PoolRow, joining: Joining | None) -> None:
        assert joining is None
        await self.go.wait()
        if self.broken:
            raise HostError(Refusal(Code.DISK_LOW, "no room"))
        self.done.append(f"keep {row.endpoint}")

    async def forget(self, pool_id: PoolId) -> None:
        await self.go.wait()
        self.done.append(f"forget {pool_id}")


async def test_listeners_hear_of_every_change_once_it_counts() -> None:
    enrolments, heard = Enrolments(), list[tuple[PoolId, bool]]()
    enrolments.listen(lambda name: heard.append((name, enrolments.row(name) is not None)))
    await enrolments.put(ROW)
    await enrolments.put(replace(ROW, id=BOX))
    await enrolments.remove(MAC)
    await enrolments.remove(MAC)
    assert heard == [(MAC, True), (BOX, True), (MAC, False)]
    assert [row.id for row in enrolments.rows()] == [BOX]


async def test_a_row_counts_once_it_is_written() -> None:
    book = SlowBook()
    enrolments = Enrolments((), book)
    putting = asyncio.create_task(enrolments.put(ROW))
    await asyncio.sleep(0)
    assert enrolments.row(MAC) is None
    book.go.set()
    await putting
    assert enrolments.row(MAC) == ROW


async def test_a_row_that_cannot_be_written_never_counts() -> None:
    book = SlowBook()
    enrolments, heard = Enrolments((), book), list[PoolId]()
    enrolments.listen(heard.append)
    book.go.set()
    book.broken = True
    with pytest.raises(HostError):
        await enrolments.put(ROW)
    assert (enrolments.rows(), heard) == ([], [])


async def test_a_late_word_about_a_removed_pool_does_not_bring_it_back() -> None:
    book = SlowBook()
    enrolments = Enrolments((ROW,), book)
    removing = asyncio.create_task(enrolments.remove(MAC))
    await asyncio.sleep(0)
    learnt = replace(ROW, join_token=None, credential="credential")
    amending = asyncio.create_task(enrolments.amend(ROW, learnt))
    book.go.set()
    await removing
    assert await amending is False
    assert enrolments.rows() == []
    assert book.done == ["forget mac"]


async def test_what_is_still_as_it_was_can_be_amended() -> None:
    enrolments = Enrolments((ROW,))
    learnt = replace(ROW, join_token=None, credential="credential")
    assert await enrolments.amend(ROW, learnt)
    assert enrolments.row(MAC) == learnt
    assert not await enrolments.amend(ROW, ROW)


async def test_a_row_without_secrets_is_safe_to_print() -> None:
    assert "token" not in repr(replace(ROW, credential="credential")).replace("join_token", "")
    assert "credential" not in repr(replace(ROW, credential="credential"))


async def test_rows_and_their_credentials_outlive_the_process() -> None:
    clock = FakeClock()
    store = MemoryStore()
    keeping = StoredPools(store=store, keys=KeyRing(clock), clock=clock)
    enrolments = Enrolments((), keeping)
    await enrolments.put(ROW)
    await enrolments.amend(ROW, replace(ROW, join_token=None, credential="credential"))
    [row] = Enrolments(await store.pools()).rows()
    assert (row.join_token, row.credential, row.joined) == (None, "credential", True)
    await enrolments.remove(MAC)
    assert await store.pools() == []
