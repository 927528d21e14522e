"""Keys by their hash, and the files of the first start."""

import hashlib
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_core.ids import KeyId
from orchestratord.runtime.keyring import (
    KeyRing,
    Principal,
    fresh_key,
    key_hash,
    read_key_file,
    write_key_file,
)


def principal(*scopes: str) -> Principal:
    return Principal(KeyId("key_1"), "name", frozenset(scopes))


def test_a_key_is_found_by_its_whole_text_only() -> None:
    ring, token = KeyRing(), fresh_key("user")
    holder = principal("user")
    ring.add(key_hash(token), holder)
    assert ring.find(token) is holder
    for wrong in (token[:-1], token + "x", token.upper(), " " + token, "", key_hash(token)):
        assert ring.find(wrong) is None
    assert len(ring) == 1
    ring.load([])
    assert ring.find(token) is None


def test_fresh_keys_are_long_and_never_alike() -> None:
    keys = {fresh_key("admin") for _ in range(200)}
    assert len(keys) == 200
    assert all(key.startswith("llo_admin_") and len(key) > 50 for key in keys)
    assert all(key.isascii() and " " not in key for key in keys)


@given(st.text())
def test_any_text_can_be_asked_for(text: str) -> None:
    assert KeyRing().find(text) is None
    assert KeyRing().find(text + "\ud800") is None


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
