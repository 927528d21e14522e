"""Declared pools against enrolled ones."""

from dataclasses import replace

import pytest

from orchestrator_core.errors import Code, Refusal
from orchestrator_core.ids import KeyId, PoolId
from orchestratord.runtime.declared import Changes, Declaration, compare, declared_row
from orchestratord.store.rows import PoolRow
from support.certificates import SELF_SIGNED
from support.pool_words import HOST_KEY

SSH = Declaration(
    name="mac", endpoint="ssh://me@mac", host_keys=(HOST_KEY,), credential="credential-of-mac"
)
HTTPS = Declaration(
    name="box", endpoint="https://box:9200", certificate=SELF_SIGNED, credential="credential-of-box"
)


def row_of(told: Declaration, now_ms: int = 1) -> PoolRow:
    row = declared_row(told, now_ms)
    assert isinstance(row, PoolRow)
    return row


def test_a_declaration_becomes_a_row() -> None:
    ssh, https = row_of(SSH), row_of(HTTPS)
    assert (ssh.road, ssh.declared, ssh.credential) == ("ssh", True, "credential-of-mac")
    assert (https.road, https.declared, https.certificate) == ("relay", True, SELF_SIGNED)
    # The key of a pool that comes to us is kept as its hash, among the keys.
    assert https.credential is None


@pytest.mark.parametrize(
    "told",
    [
        replace(SSH, endpoint="ssh://-x"),
        replace(SSH, endpoint="mac"),
        replace(SSH, host_keys=()),
        replace(SSH, host_keys=("x",)),
        replace(HTTPS, certificate=None),
        replace(HTTPS, credential=None),
        replace(HTTPS, certificate="x"),
        replace(HTTPS, endpoint="https://box"),
        replace(HTTPS, endpoint="https://169.254.169.254:80"),
        replace(HTTPS, credential="too short"),
        replace(HTTPS, credential="two words are no key at all"),
        replace(SSH, credential="x" * 513),
        replace(SSH, name="join"),
        replace(HTTPS, name="register"),
    ],
)
def test_one_that_makes_no_sense_is_refused_by_its_name(told: Declaration) -> None:
    refusal = declared_row(told, 1)
    assert isinstance(refusal, Refusal)
    assert refusal.code is Code.CONFIG_INVALID
    assert refusal.message.startswith(f"pool {told.name}: ")


def test_a_new_table_is_put_and_an_old_one_removed() -> None:
    mac, box = row_of(SSH), row_of(HTTPS)
    assert compare([mac], [box]) == Changes(put=(mac,), remove=(PoolId("box"),))


def test_what_has_not_changed_is_left_alone() -> None:
    enrolled = [row_of(SSH, 1), replace(row_of(HTTPS, 1), key_id=KeyId("key_a"))]
    assert compare([row_of(SSH, 9), row_of(HTTPS, 9)], enrolled) == Changes()


def test_a_pool_that_a_person_enrolled_wins() -> None:
    person = replace(row_of(SSH), declared=False)
    assert compare([row_of(SSH)], [person]) == Changes(shadowed=(PoolId("mac"),))
    assert compare([], [person]) == Changes()


def test_a_credential_that_was_learnt_is_kept_while_the_address_stays() -> None:
    learnt = row_of(SSH)
    bare = replace(SSH, credential=None)
    assert compare([row_of(bare)], [learnt]) == Changes()
    moved = row_of(replace(bare, endpoint="ssh://me@other"))
    [put] = compare([moved], [learnt]).put
    assert put.credential is None
