"""What every adapter of the job store does with enrolled hosts, their tokens and their keys."""

from dataclasses import replace

import pytest

from orchestrator_core.errors import DataError
from orchestrator_core.ids import KeyId, PoolId
from orchestratord.store.port import JobStore, StaleWriteError
from orchestratord.store.rows import JoinTokenRow, KeyRow, PoolRow
from orchestratord.store.writes import DropPool, PutJoinToken, PutKey, PutPool, UseJoinToken
from support.job_stores import Reopen
from support.stored_jobs import KEY, OTHER_KEY, apply

MAC, BOX = PoolId("mac"), PoolId("box")
RICH = PoolRow(
    id=MAC,
    created_at_ms=1000,
    endpoint="ssh://me@mac:2222",
    daemon_port=9300,
    host_keys=("ssh-ed25519 AAAA", 'ssh-rsa "BBBB'),
    certificate="PEM",
    join_token="token",
    credential="credential",
    key_id=KEY,
    declared=True,
)
PLAIN = PoolRow(id=BOX, created_at_ms=2000)


def token_for(pool_id: PoolId, hash_: str = "t1", **changes: int) -> JoinTokenRow:
    row = JoinTokenRow(
        pool_id=pool_id,
        hash=hash_,
        created_at_ms=1000,
        expires_at_ms=5000,
        created_by=OTHER_KEY,
    )
    return replace(row, **changes)


def key_of(pool_id: PoolId, key_id: KeyId = KEY, hash_: str = "k1") -> KeyRow:
    return KeyRow(
        id=key_id, name="pool", hash=hash_, scopes=("pool",), created_at_ms=1, pool_id=pool_id
    )


def join(pool_id: PoolId, *, token: str = "t1", at_ms: int = 3000, key: KeyRow | None = None):
    key = key or key_of(pool_id)
    pool = PoolRow(id=pool_id, created_at_ms=at_ms, endpoint="https://h:1", key_id=key.id)
    return UseJoinToken(token_hash=token, pool=pool, key=key, at_ms=at_ms)


async def test_a_pool_reads_back_with_every_field(reopen: Reopen) -> None:
    await apply(await reopen(), PutPool(pool=RICH, at_ms=1), PutPool(pool=PLAIN, at_ms=1))
    store = await reopen()
    assert await store.pools() == [PLAIN, RICH]
    changed = replace(RICH, join_token=None, host_keys=(), declared=False)
    await apply(store, PutPool(pool=changed, at_ms=2))
    assert await store.pools() == [PLAIN, changed]


async def test_a_key_remembers_whose_session_it_opens(reopen: Reopen) -> None:
    await apply(await reopen(), PutKey(key_of(MAC)))
    assert await (await reopen()).keys() == [key_of(MAC)]


async def test_a_pool_has_the_one_key_that_its_row_names(store: JobStore) -> None:
    older, other = key_of(MAC, OTHER_KEY, "k2"), key_of(BOX, KeyId("key_c"), "k3")
    await apply(store, PutKey(key_of(MAC)), PutKey(older), PutKey(other))
    await apply(store, PutPool(pool=RICH, at_ms=7))
    assert {key.id: key.revoked_at_ms for key in await store.keys()} == {
        KEY: None,
        OTHER_KEY: 7,
        KeyId("key_c"): None,
    }
    # Without a key of its own, as behind SSH, it has none that could open anything.
    await apply(store, PutPool(pool=replace(RICH, key_id=None), at_ms=8))
    ended = {key.id: key.revoked_at_ms for key in await store.keys()}
    assert (ended[KEY], ended[OTHER_KEY]) == (8, 7)


async def test_a_dropped_pool_leaves_nothing_that_lets_it_in(store: JobStore) -> None:
    key = replace(key_of(MAC))
    await apply(store, PutJoinToken(token_for(MAC)), PutKey(key), PutPool(pool=RICH, at_ms=1))
    assert await apply(store, DropPool(pool_id=MAC, at_ms=9)) == [1]
    assert await store.pools() == []
    assert await store.join_tokens() == []
    assert [row.revoked_at_ms for row in await store.keys()] == [9]
    assert await apply(store, DropPool(pool_id=MAC, at_ms=10)) == [0]
    assert [row.revoked_at_ms for row in await store.keys()] == [9]


async def test_a_newer_token_takes_the_place_of_the_older(reopen: Reopen) -> None:
    store = await reopen()
    await apply(store, PutJoinToken(token_for(MAC)), PutJoinToken(token_for(BOX, "t2")))
    newer = token_for(MAC, "t3")
    await apply(store, PutJoinToken(newer))
    store = await reopen()
    assert await store.join_tokens() == [token_for(BOX, "t2"), newer]
    with pytest.raises(StaleWriteError):
        await store.submit(join(MAC, token="t1"))


async def test_tokens_that_ran_out_are_forgotten_with_the_next_one(store: JobStore) -> None:
    await apply(store, PutJoinToken(token_for(MAC)))
    late = token_for(BOX, "t2", created_at_ms=5000, expires_at_ms=9000)
    await apply(store, PutJoinToken(late))
    assert await store.join_tokens() == [late]


async def test_two_names_never_share_a_token(store: JobStore) -> None:
    await apply(store, PutJoinToken(token_for(MAC)))
    with pytest.raises(DataError):
        await store.submit(PutJoinToken(token_for(BOX)))
    assert await store.join_tokens() == [token_for(MAC)]


async def test_a_join_uses_the_token_and_puts_pool_and_key(reopen: Reopen) -> None:
    store = await reopen()
    await apply(store, PutJoinToken(token_for(MAC)))
    assert await apply(store, join(MAC)) == [1]
    store = await reopen()
    [pool], [key], [token] = await store.pools(), await store.keys(), await store.join_tokens()
    assert (pool.id, pool.key_id, key.id, key.pool_id) == (MAC, KEY, KEY, MAC)
    assert token == token_for(MAC, used_at_ms=3000)


@pytest.mark.parametrize(
    ("token", "at_ms"), [("t1", 5000), ("t1", 9000), ("other", 3000), ("", 3000)]
)
async def test_a_token_that_is_not_open_lets_nobody_in(
    store: JobStore, token: str, at_ms: int
) -> None:
    await apply(store, PutJoinToken(token_for(MAC)))
    with pytest.raises(StaleWriteError):
        await store.submit(join(MAC, token=token, at_ms=at_ms))
    assert (await store.pools(), await store.keys()) == ([], [])
    assert await store.join_tokens() == [token_for(MAC)]


async def test_a_token_for_another_name_lets_nobody_in(store: JobStore) -> None:
    await apply(store, PutJoinToken(token_for(MAC)))
    with pytest.raises(StaleWriteError):
        await store.submit(join(BOX))
    assert (await store.pools(), await store.keys()) == ([], [])


async def test_of_two_joins_by_one_token_in_one_group_the_first_wins(store: JobStore) -> None:
    await apply(store, PutJoinToken(token_for(MAC)))
    first, second = join(MAC), join(MAC, key=key_of(MAC, OTHER_KEY, "k2"))
    won, lost = store.submit(first), store.submit(second)
    assert await won == 1
    with pytest.raises(StaleWriteError):
        await lost
    assert [key.id for key in await store.keys()] == [KEY]
    assert [pool.key_id for pool in await store.pools()] == [KEY]


async def test_a_join_that_cannot_have_its_key_leaves_the_token_open(store: JobStore) -> None:
    taken = KeyRow(id=OTHER_KEY, name="x", hash="k1", scopes=("user",), created_at_ms=1)
    await apply(store, PutKey(taken), PutJoinToken(token_for(MAC)))
    with pytest.raises(DataError):
        await store.submit(join(MAC))
    assert await store.pools() == []
    assert await store.join_tokens() == [token_for(MAC)]
    assert await apply(store, join(MAC, key=key_of(MAC, hash_="k2"))) == [1]


async def test_a_pool_that_joins_anew_loses_its_older_key(store: JobStore) -> None:
    await apply(store, PutJoinToken(token_for(MAC)), join(MAC))
    await apply(store, PutJoinToken(token_for(MAC, "t2")))
    await apply(store, join(MAC, token="t2", at_ms=4000, key=key_of(MAC, OTHER_KEY, "k2")))
    assert {key.id: key.revoked_at_ms for key in await store.keys()} == {KEY: 4000, OTHER_KEY: None}


async def test_a_join_names_its_own_pool_and_key_only() -> None:
    good = join(MAC)
    with pytest.raises(ValueError, match="name each other"):
        replace(good, key=key_of(BOX))
    with pytest.raises(ValueError, match="name each other"):
        replace(good, pool=replace(good.pool, key_id=None))


async def test_a_pool_is_put_with_its_key_or_not_at_all(store: JobStore) -> None:
    await apply(store, PutKey(key_of(BOX, OTHER_KEY, "taken")))
    with pytest.raises(DataError):
        await store.submit(PutPool(pool=RICH, key=key_of(MAC, hash_="taken"), at_ms=1))
    assert await store.pools() == []
    await apply(store, PutPool(pool=RICH, key=key_of(MAC), at_ms=1))
    newer = key_of(MAC, KeyId("key_c"), "k2")
    await apply(store, PutPool(pool=replace(RICH, key_id=newer.id), key=newer, at_ms=5))
    assert {key.id: key.revoked_at_ms for key in await store.keys()} == {
        OTHER_KEY: None,
        KEY: 5,
        newer.id: None,
    }
