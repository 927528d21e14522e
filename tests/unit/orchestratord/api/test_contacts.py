"""A pool may name only plain loopback addresses, for itself and its workers."""

import pytest
from pydantic import SecretStr

from orchestrator_core.contracts.pool import WorkerSpec
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.testing.reports import model_file, worker_report
from orchestratord.api.control.contacts import checked_address, refused_worker


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
