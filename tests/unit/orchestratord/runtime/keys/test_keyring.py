"""Keys by their hash, and the files of the first start."""

import hashlib
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_core.contracts.tasks import Priority
from orchestrator_core.ids import KeyId
from orchestrator_core.testing.clocks import FakeClock
from orchestratord.runtime.keys.keyring import (
    KeyFault,
    KeyRing,
    Principal,
    fresh_key,
    key_hash,
    read_key_file,
    write_key_file,
)
from orchestratord.store.rows import KeyRow

CLOCK = FakeClock()


def principal(*scopes: str, models: frozenset[str] | None = None) -> Principal:
    return Principal(KeyId("key_1"), "name", frozenset(scopes), models)


def row(number: int, token: str, *scopes: str, expires_at_ms: int | None = None) -> KeyRow:
    return KeyRow(
        id=KeyId(f"key_{number}"),
        name=f"name {number}",
        hash=key_hash(token),
        scopes=scopes,
        created_at_ms=1,
        expires_at_ms=expires_at_ms,
    )


def test_a_key_is_found_by_its_whole_text_only() -> None:
    ring, token = KeyRing(CLOCK), fresh_key("user")
    ring.add(row(1, token, "user"))
    holder = ring.find(token)
    assert holder is not None
    assert (holder.key_id, holder.scopes) == ("key_1", {"user"})
    for wrong in (token[:-1], token + "x", token.upper(), " " + token, "", key_hash(token)):
        assert ring.find(wrong) is None
        assert ring.fault_of(wrong) is KeyFault.UNKNOWN
    assert len(ring) == 1
    ring.load([])
    assert ring.find(token) is None


def test_what_a_row_allows_is_what_its_holder_may_do() -> None:
    ring = KeyRing(CLOCK)
    limited = replace(
        row(1, "t", "user"),
        models=("a", "b"),
        priority=Priority.BATCH,
        weight=7,
        requests_per_minute=3,
        concurrent_jobs=2,
        expires_at_ms=CLOCK.unix_ms() + 1,
    )
    ring.add(limited)
    holder = ring.find("t")
    assert holder is not None
    assert [holder.may_use(name) for name in ("a", "b", "c", "")] == [True, True, False, False]
    assert (holder.priority, holder.weight) == (Priority.BATCH, 7)
    assert (holder.requests_per_minute, holder.concurrent_jobs) == (3, 2)
    assert principal("user").may_use("anything")


def test_a_revoked_key_opens_nothing_from_that_moment_on() -> None:
    ring = KeyRing(CLOCK)
    ring.add(row(1, "one", "user"))
    ring.add(row(2, "two", "user"))
    assert ring.holds(KeyId("key_1"))
    ring.revoke(KeyId("key_1"), 5)
    ring.revoke(KeyId("key_1"), 6)
    assert ring.find("one") is None
    assert ring.fault_of("one") is KeyFault.REVOKED
    assert not ring.holds(KeyId("key_1"))
    assert ring.find("two") is not None
    assert [found.revoked_at_ms for found in ring.rows()] == [5, None]
    ring.load(ring.rows())
    assert ring.fault_of("one") is KeyFault.REVOKED
    assert len(ring) == 1


def test_a_key_expires_by_the_clock_and_not_only_at_a_start() -> None:
    clock = FakeClock()
    ring = KeyRing(clock)
    ring.add(row(1, "t", "user", expires_at_ms=clock.unix_ms() + 2000))
    clock.advance(1.999)
    assert ring.find("t") is not None
    assert ring.holds(KeyId("key_1"))
    clock.advance(0.001)
    assert ring.find("t") is None
    assert not ring.holds(KeyId("key_1"))
    assert ring.fault_of("t") is KeyFault.EXPIRED


def test_a_use_is_seen_at_once_and_told_once() -> None:
    clock = FakeClock()
    ring = KeyRing(clock)
    ring.add(row(1, "t", "user"))
    ring.add(row(2, "u", "user"))
    clock.advance(3)
    ring.find("t")
    used = clock.unix_ms()
    assert [found.last_used_at_ms for found in ring.rows()] == [used, None]
    assert ring.take_uses() == {"key_1": used}
    assert ring.take_uses() == {}
    assert [found.last_used_at_ms for found in ring.rows()] == [used, None]


def test_an_unknown_id_is_held_by_nobody() -> None:
    ring = KeyRing(CLOCK)
    assert not ring.holds(KeyId("key_9"))
    assert ring.row("key_9") is None


def test_only_an_admin_key_that_lasts_and_works_lets_another_one_go() -> None:
    ring = KeyRing(CLOCK)
    ring.add(row(1, "a", "admin"))
    ring.add(row(2, "b", "operator", "user"))
    ring.add(row(3, "c", "admin", expires_at_ms=CLOCK.unix_ms() + 1000))
    assert ring.is_last_admin(KeyId("key_1"))
    assert not ring.is_last_admin(KeyId("key_2"))
    assert not ring.is_last_admin(KeyId("key_3"))
    ring.add(row(4, "d", "user", "admin"))
    assert not ring.is_last_admin(KeyId("key_1"))
    ring.revoke(KeyId("key_1"), 1)
    assert ring.is_last_admin(KeyId("key_4"))


def test_fresh_keys_are_long_and_never_alike() -> None:
    keys = {fresh_key("admin") for _ in range(200)}
    assert len(keys) == 200
    assert all(key.startswith("llo_admin_") and len(key) > 50 for key in keys)
    assert all(key.isascii() and " " not in key for key in keys)


@given(st.text())
def test_any_text_can_be_asked_for(text: str) -> None:
    assert KeyRing(CLOCK).find(text) is None
    assert KeyRing(CLOCK).find(text + "\ud800") is None


def test_the_hash_is_plain_sha256_so_that_stored_keys_stay_valid() -> None:
    assert key_hash("abc") == hashlib.sha256(b"abc").hexdigest()


@pytest.mark.parametrize(
    ("scopes", "sees_all"),
    [(("admin",), True), (("operator",), True), (("user",), False), (("pool",), False)],
)
def test_who_sees_other_peoples_jobs(scopes: tuple[str, ...], sees_all: bool) -> None:
    assert principal(*scopes).sees_all is sees_all


def test_a_key_file_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "admin.key"
    write_key_file(path, "secret")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_key_file(path) == "secret"


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xff\xfe"])
def test_a_key_file_without_a_key_reads_as_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "admin.key"
    assert read_key_file(path) is None
    path.write_bytes(content)
    assert read_key_file(path) is None
