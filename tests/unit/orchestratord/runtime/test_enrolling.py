"""The form of addresses and host keys that administrators hand in."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_core.errors import Code, Refusal
from orchestratord.runtime.enrolling import checked_host_keys, checked_ssh_endpoint
from support.pool_words import HOST_KEY


def blob(kind: str) -> str:
    return base64.b64encode(len(kind).to_bytes(4, "big") + kind.encode() + b"x" * 40).decode()


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("ssh://mac", "ssh://mac"),
        ("ssh://me@mac.local:2222", "ssh://me@mac.local:2222"),
        ("ssh://10.0.0.7", "ssh://10.0.0.7"),
        ("ssh://me@[fd00::7]:22", "ssh://me@[fd00::7]:22"),
    ],
)
def test_an_address_is_accepted_and_written_anew(text: str, read: str) -> None:
    assert checked_ssh_endpoint(text) == read


@given(st.text(max_size=80))
def test_whatever_is_accepted_holds_nothing_that_a_shell_or_option_could_be(rest: str) -> None:
    found = checked_ssh_endpoint(f"ssh://{rest}")
    if isinstance(found, Refusal):
        assert "\n" not in found.message
        assert found.message.isascii()
    else:
        allowed = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-@:[]/")
        assert set(found) <= allowed
        assert not found.removeprefix("ssh://").startswith("-")


@pytest.mark.parametrize(
    "kind",
    [
        "ssh-ed25519",
        "ssh-rsa",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp521",
        "sk-ssh-ed25519@openssh.com",
    ],
)
def test_host_keys_of_every_known_kind_are_taken(kind: str) -> None:
    assert checked_host_keys((f"{kind} {blob(kind)}",)) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ssh-ed25519",
        f"ssh-ed25519  {blob('ssh-ed25519')}",
        f"ssh-ed25519 {blob('ssh-rsa')}",
        f"ssh-dss {blob('ssh-dss')}",
        f"{HOST_KEY}\n",
        f"{HOST_KEY} me@mac",
        f"mac {HOST_KEY}",
        f"@revoked {HOST_KEY}",
        "ssh-ed25519 " + "=" * 40,
    ],
)
def test_anything_else_is_no_host_key(text: str) -> None:
    refusal = checked_host_keys((HOST_KEY, text))
    assert refusal is not None
    assert refusal.code is Code.INVALID_REQUEST
    assert refusal.details == {"param": "host_keys.1"}
