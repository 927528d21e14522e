"""The keys of the first start: made once, kept over restarts, replaced when their file is gone."""

import stat
from pathlib import Path

import pytest

from orchestrator_core.config.layout import Layout
from orchestrator_core.idgen import IdSource
from orchestrator_core.testing.clocks import FakeClock
from orchestratord.app.first_keys import open_keyring
from orchestratord.runtime.keys.keyring import KeyRing, key_hash
from orchestratord.store.memory import MemoryStore
from orchestratord.store.memory_tables import MemoryTables
from orchestratord.store.rows import KeyRow
from orchestratord.store.writes import PutKey, RevokeKey


class House:
    def __init__(self, folder: Path) -> None:
        self.layout = Layout.from_env({"LLORCH_HOME": str(folder)})
        self.layout.state.mkdir(parents=True)
        self.tables, self.clock = MemoryTables(), FakeClock()

    async def open(self) -> tuple[KeyRing, list[Path]]:
        return await open_keyring(
            store=MemoryStore(self.tables),
            layout=self.layout,
            clock=self.clock,
            ids=IdSource(self.clock),
        )

    def text(self, path: Path) -> str:
        return path.read_text().strip()


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


async def test_the_first_start_writes_both_keys_for_their_owner_only(house: House) -> None:
    ring, written = await house.open()
    assert written == [house.layout.admin_key, house.layout.local_pool_key]
    for path, scope in zip(written, ("admin", "pool"), strict=True):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        holder = ring.find(house.text(path))
        assert holder is not None
        assert holder.scopes == {scope}
        assert house.text(path) not in repr(house.tables.keys)


async def test_a_restart_keeps_the_keys(house: House) -> None:
    await house.open()
    before = [house.text(house.layout.admin_key), house.text(house.layout.local_pool_key)]
    ring, written = await house.open()
    assert written == []
    assert [house.text(house.layout.admin_key), house.text(house.layout.local_pool_key)] == before
    assert all(ring.find(token) is not None for token in before)
    assert len(house.tables.keys) == 2


async def test_a_lost_or_foreign_file_gets_a_new_key(house: House) -> None:
    await house.open()
    pool = house.text(house.layout.local_pool_key)
    old = house.text(house.layout.admin_key)
    house.layout.admin_key.unlink()
    ring, written = await house.open()
    assert written == [house.layout.admin_key]
    fresh = house.text(house.layout.admin_key)
    assert fresh != old
    assert ring.find(fresh) is not None
    house.layout.admin_key.write_text("of another installation\n")
    _, written = await house.open()
    assert written == [house.layout.admin_key]
    assert house.text(house.layout.local_pool_key) == pool


async def test_a_key_of_the_wrong_scope_does_not_stand_for_the_right_one(house: House) -> None:
    await house.open()
    house.layout.admin_key.write_text(house.text(house.layout.local_pool_key))
    ring, written = await house.open()
    assert written == [house.layout.admin_key]
    holder = ring.find(house.text(house.layout.admin_key))
    assert holder is not None
    assert holder.scopes == {"admin"}


async def test_revoked_and_expired_keys_open_nothing(house: House) -> None:
    await house.open()
    store, now_ms = MemoryStore(house.tables), house.clock.unix_ms()
    for number, expires in enumerate((None, now_ms - 1, now_ms, now_ms + 10)):
        key = KeyRow(
            id=IdSource(house.clock).key(),
            name="guest",
            hash=key_hash(f"guest-{number}"),
            scopes=("user",),
            created_at_ms=now_ms,
            expires_at_ms=expires,
        )
        await store.submit(PutKey(key))
        if expires is None:
            await store.submit(RevokeKey(key_id=key.id, at_ms=now_ms))
    ring, _ = await house.open()
    found = [ring.find(f"guest-{number}") is not None for number in range(4)]
    assert found == [False, False, False, True]
