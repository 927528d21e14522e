"""Where an external engine may be and what its models may be called."""

import pytest

from orchestrator_core.catalog.external import (
    EngineAddress,
    is_external,
    name_fault,
    read_engine_address,
)
from orchestrator_core.contracts.pool import WorkerSpec
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.testing.reports import model_file


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/v1"),
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000/v1"),
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1"),
        ("http://127.0.0.1:8000/v1/", "http://127.0.0.1:8000/v1"),
        ("HTTP://LocalHost:1234/Prefix", "http://localhost:1234/Prefix/v1"),
        ("http://gpu-box.lan:11434/a/b_c~d", "http://gpu-box.lan:11434/a/b_c~d/v1"),
        ("http://gpu-box", "http://gpu-box:80/v1"),
        ("http://[::1]:8000", "http://[::1]:8000/v1"),
        ("https://api.example", "https://api.example:443/v1"),
        ("HTTPS://api.example:8443/x", "https://api.example:8443/x/v1"),
        ("http://192.168.1.7:8000", "http://192.168.1.7:8000/v1"),
    ],
)
def test_an_address_is_written_anew_with_port_and_api(text: str, url: str) -> None:
    found = read_engine_address(text)
    assert isinstance(found, EngineAddress)
    assert found.url == url
    again = read_engine_address(found.url)
    assert again == found


CORPUS = [
    "", "x", "127.0.0.1:8000", "http://", "http://:80", "http://a:0", "http://a:65536",
    "http://a:-1", "http://a:x", "ftp://a:21", "file:///etc/passwd", "http://a:80//v1",
    "http://a:80/v1?x", "http://a:80/v1#x", "http://a:80/../v1", "http://a:80/./v1",
    "http://a:80/%2e%2e/v1", "http://a:80/a b", "http://a:80\\@b", " http://a:80", "http://a:80\n",
    "http://a:80/v1\r\nX: y", "http://\uff11:80", "http://0.0.0.0:80", "http://[::]:80",
    "http://169.254.169.254:80", "http://[fe80::1]:80", "http://[::ffff:169.254.169.254]:80",
    "http://2852039166:80", "http://0xa9fea9fe:80", "http://169.254.43518:80", "http://0251.1:80",
    "http://224.0.0.1:80", "http://[::1%25eth0]:80", "http://a.b.1:80", "http://.:80",
]  # fmt: skip


@pytest.mark.parametrize("text", CORPUS)
def test_every_other_address_is_refused(text: str) -> None:
    refusal = read_engine_address(text)
    assert isinstance(refusal, Refusal), refusal
    assert refusal.code is Code.CONFIG_INVALID
    assert "\n" not in refusal.message


@pytest.mark.parametrize("text", ["http://me:hush@a:80", "http://hush@a:80", "https://me:hush@a"])
def test_credentials_in_an_address_are_refused_and_not_repeated(text: str) -> None:
    refusal = read_engine_address(text)
    assert isinstance(refusal, Refusal)
    assert "key_file" in refusal.message
    assert "hush" not in refusal.message


@pytest.mark.parametrize("name", ["m", "org/Model-7B", "qwen2.5:7b", "größer", "a b", "x" * 256])
def test_names_of_real_servers_are_taken(name: str) -> None:
    assert name_fault(name) is None


@pytest.mark.parametrize("name", ["", " a", "a ", "a\nb", "x" * 257, "hf:a/b", "file:/a"])
def test_names_that_could_not_be_asked_for_are_refused(name: str) -> None:
    assert name_fault(name) is not None


def test_only_an_engine_of_somebody_else_is_external() -> None:
    assert is_external(WorkerSpec(model=model_file(), engine="openai"))
    assert not is_external(WorkerSpec(model=model_file(), engine="llama-server"))
