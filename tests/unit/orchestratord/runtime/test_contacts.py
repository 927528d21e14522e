"""A pool may name only plain loopback addresses, or those of the host that it was enrolled at."""

from dataclasses import replace

import pytest
from pydantic import SecretStr

from orchestrator_core.contracts.pool import PoolRegister, WorkerSpec
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.ids import KeyId, PoolId
from orchestrator_core.testing.reports import model_file, worker_report
from orchestratord.runtime.contacts import (
    checked_address,
    checked_remote,
    contact_of,
    is_same_host,
    refused_worker,
)
from orchestratord.runtime.hosts.ways import PoolContact
from orchestratord.store.rows import PoolRow
from support.certificates import SELF_SIGNED


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("http://127.0.0.1:9200", "http://127.0.0.1:9200"),
        ("http://127.0.0.1:9200/", "http://127.0.0.1:9200"),
        ("HTTP://LOCALHOST:1", "http://localhost:1"),
        ("http://127.9.9.9:65535", "http://127.9.9.9:65535"),
        ("http://[::1]:9200", "http://[::1]:9200"),
        ("http://127.0.0.1:9200//", "http://127.0.0.1:9200"),
        ("http://127.0.0.1:9200?", "http://127.0.0.1:9200"),
        ("http://127.0.0.1:92\n00", "http://127.0.0.1:9200"),
    ],
)
def test_a_loopback_address_is_accepted_and_written_anew(text: str, read: str) -> None:
    assert checked_address(text, "endpoint") == read


CORPUS = [
    "", "x", "127.0.0.1:9200", "//127.0.0.1:9200", "http://", "http://:9200",
    "http://127.0.0.1", "http://127.0.0.1:", "http://127.0.0.1:0", "http://127.0.0.1:65536",
    "http://127.0.0.1:-1", "http://127.0.0.1:x", "https://127.0.0.1:9200", "file:///etc/passwd",
    "gopher://127.0.0.1:70", "ftp://127.0.0.1:21", "unix:///run/x.sock",
    "http://10.0.0.1:80", "http://172.16.0.1:80", "http://192.168.0.1:80", "http://8.8.8.8:80",
    "http://169.254.169.254:80", "http://100.64.0.1:80", "http://0.0.0.0:80", "http://[::]:80",
    "http://[fe80::1]:80", "http://[fc00::1]:80", "http://[::1%25eth0]:80",
    "http://[::1", "http://[:80", "http://2130706433:80", "http://0x7f000001:80",
    "http://0177.0.0.1:80", "http://127.1:80", "http://localhost.:80", "http://localhost.evil:80",
    "http://127.0.0.1.nip.io:80", "http://metadata.google.internal:80",
    "http://user@127.0.0.1:80", "http://user:pw@127.0.0.1:80", "http://@127.0.0.1:80",
    "http://:pw@127.0.0.1:80", "http://127.0.0.1:80@evil.example", "http://evil.example@127.0.0.1:80",
    "http://127.0.0.1:80\\@evil.example", "http://127.0.0.1:80/path", "http://127.0.0.1:80?x=1",
    "http://127.0.0.1:80#x", "http://127.0.0.1:80/..", " http://127.0.0.1 :80", "http://\uff1127.0.0.1:80",
]  # fmt: skip


@pytest.mark.parametrize("text", CORPUS)
def test_every_other_address_is_refused_by_its_field(text: str) -> None:
    refusal = checked_address(text, "endpoint")
    assert isinstance(refusal, Refusal), refusal
    assert refusal.code is Code.INVALID_REQUEST
    assert refusal.details == {"param": "endpoint"}
    assert "\n" not in refusal.message


def test_a_worker_without_an_address_is_still_coming() -> None:
    waiting = worker_report("wrk_1").model_copy(update={"url": None, "key": None})
    assert refused_worker([waiting, worker_report("wrk_2")]) is None


@pytest.mark.parametrize("url", CORPUS)
def test_the_same_holds_for_the_addresses_of_workers(url: str) -> None:
    bad = worker_report("wrk_2").model_copy(update={"url": url})
    refusal = refused_worker([worker_report("wrk_1"), bad])
    assert isinstance(refusal, Refusal)
    assert refusal.details == {"param": "workers.1.url"}


@pytest.mark.parametrize("key", ["", " ", "a b", "a\r\nX: y", "ключ", "x" * 513, "\x7f", "a\0"])
def test_a_key_that_does_not_fit_a_header_is_refused_and_not_repeated(key: str) -> None:
    bad = worker_report("wrk_1").model_copy(update={"key": SecretStr(key)})
    refusal = refused_worker([bad])
    assert isinstance(refusal, Refusal)
    assert refusal.details == {"param": "workers.0.key"}
    assert len(key) < 3 or key not in refusal.message


@pytest.mark.parametrize("url", ["http://gpu-box:8000/v1", "http://192.168.0.9:80/a/v1"])
def test_only_an_external_engine_may_be_elsewhere(url: str) -> None:
    spec = WorkerSpec(model=model_file(), engine="openai")
    there = worker_report("wrk_1", spec=spec).model_copy(update={"url": url})
    assert refused_worker([there]) is None
    ours = worker_report("wrk_1").model_copy(update={"url": url})
    assert isinstance(refused_worker([ours]), Refusal)


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254:80/v1", "http://a@b:80/v1", "file:///v1", "http://a:80/../v1"]
)
def test_even_an_external_engine_cannot_be_anywhere(url: str) -> None:
    spec = WorkerSpec(model=model_file(), engine="openai")
    there = worker_report("wrk_1", spec=spec).model_copy(update={"url": url})
    refusal = refused_worker([there])
    assert isinstance(refusal, Refusal)
    assert (refusal.code, refusal.details) == (Code.INVALID_REQUEST, {"param": "workers.0.url"})


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("https://10.0.0.7:9200", "https://10.0.0.7:9200"),
        ("HTTPS://Mac.local:9200/", "https://mac.local:9200"),
        ("https://[FD00::7]:9200", "https://[fd00::7]:9200"),
        ("https://127.0.0.1:9200", "https://127.0.0.1:9200"),
    ],
)
def test_a_joined_pool_may_be_anywhere_behind_https(text: str, read: str) -> None:
    assert checked_remote(text, "endpoint") == read


NOBODY = [
    "https://169.254.169.254:80",
    "https://[::ffff:169.254.169.254]:80",
    "https://[fe80::1]:9200",
    "https://0.0.0.0:9200",
    "https://[::]:9200",
    "https://224.0.0.1:9200",
    "https://2852039166:80",
    "https://0xa9fea9fe:80",
    "https://127.1:9200",
    "https://mac.0x7f:9200",
    "https://1.:9200",
]


@pytest.mark.parametrize(
    "text", [*NOBODY, *(text for text in CORPUS if not text.startswith("https://1"))]
)
def test_nothing_else_is_an_address_of_a_joined_pool(text: str) -> None:
    assert isinstance(checked_remote(text, "endpoint"), Refusal)


def registered(endpoint: str, key: str = "control") -> PoolRegister:
    return PoolRegister(
        pool_id="mac",
        session_id="ses",
        endpoint=endpoint,
        control_key=SecretStr(key),
        version="0.1.0",
        devices=[],
        workers=[],
        models=[],
        engines=[],
    )


LOCAL, REMOTE = "http://127.0.0.1:9200", "https://10.0.0.7:9200"
RELAY = PoolRow(
    id=PoolId("mac"), created_at_ms=1, endpoint=REMOTE, certificate="PEM", key_id=KeyId("key_a")
)
SSH = PoolRow(id=PoolId("mac"), created_at_ms=1, endpoint="ssh://mac")


def test_each_enrolment_has_its_road() -> None:
    assert contact_of(registered(LOCAL), None) == PoolContact(LOCAL, "control", "0.1.0")
    assert contact_of(registered(REMOTE), RELAY) == PoolContact(
        REMOTE, "control", "0.1.0", "PEM", "relay"
    )
    # Whatever it says, the pool is on the host that SSH leads to.
    for told, endpoint in ((LOCAL, LOCAL), (REMOTE, "https://mac:9200")):
        assert contact_of(registered(told), SSH) == PoolContact(
            endpoint, "control", "0.1.0", None, "ssh"
        )


def test_behind_ssh_a_pool_is_behind_the_port_that_its_session_came_through() -> None:
    contact = contact_of(registered("http://127.0.0.1:22"), replace(SSH, daemon_port=9300))
    assert isinstance(contact, PoolContact)
    assert contact.endpoint == "http://127.0.0.1:9300"


def test_a_joined_pool_may_move_to_another_port_and_to_no_other_host() -> None:
    moved = contact_of(registered("https://10.0.0.7:9201"), RELAY)
    assert isinstance(moved, PoolContact)
    assert moved.endpoint == "https://10.0.0.7:9201"
    for elsewhere in ("https://10.0.0.8:9200", "https://127.0.0.1:9200", "https://mac:9200"):
        refusal = contact_of(registered(elsewhere), RELAY)
        assert isinstance(refusal, Refusal)
        assert refusal.details == {"param": "endpoint"}
        assert "join it again" in refusal.message


@pytest.mark.parametrize("row", [RELAY, SSH])
def test_another_address_certificate_or_host_key_is_another_host(row: PoolRow) -> None:
    same = (
        replace(row, credential="c", join_token="t"),
        replace(row, key_id=KeyId("key_b"), created_at_ms=9, daemon_port=1, declared=True),
    )
    others = (
        replace(row, endpoint="ssh://other"),
        replace(row, certificate="other"),
        replace(row, host_keys=("other",)),
        None,
    )
    assert all(is_same_host(row, it) for it in same)
    assert not any(is_same_host(row, it) or is_same_host(it, row) for it in others)
    assert is_same_host(None, None)


def test_a_certificate_counts_only_where_the_session_proves_who_speaks() -> None:
    told = registered(REMOTE).model_copy(update={"certificate": SELF_SIGNED})
    behind_ssh, joined = contact_of(told, SSH), contact_of(told, RELAY)
    assert isinstance(behind_ssh, PoolContact)
    assert isinstance(joined, PoolContact)
    assert (behind_ssh.certificate, joined.certificate) == (SELF_SIGNED, "PEM")
    spoilt = told.model_copy(update={"certificate": "x"})
    assert isinstance(contact_of(spoilt, SSH), Refusal)


@pytest.mark.parametrize(
    ("endpoint", "row"),
    [
        (REMOTE, None),
        (LOCAL, RELAY),
        ("http://10.0.0.7:9200", RELAY),
        ("http://10.0.0.7:9200", SSH),
        ("http://10.0.0.7:9200", None),
    ],
)
def test_a_pool_that_is_elsewhere_than_it_was_enrolled_is_refused(
    endpoint: str, row: PoolRow | None
) -> None:
    refusal = contact_of(registered(endpoint), row)
    assert isinstance(refusal, Refusal)
    assert refusal.details == {"param": "endpoint"}


@pytest.mark.parametrize("key", ["", "two words", "line\r\nX-Evil: 1", "ключ", "x" * 513])
def test_a_control_key_that_no_request_can_carry_is_refused(key: str) -> None:
    refusal = contact_of(registered(LOCAL, key), None)
    assert isinstance(refusal, Refusal)
    assert refusal.details == {"param": "control_key"}
