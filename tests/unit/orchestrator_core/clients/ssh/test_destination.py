"""A destination is read strictly: what could be an option or a command never gets near a lookup."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_core.clients.ssh.destination import Destination, read_destination
from orchestrator_core.errors import Code, Refusal

NAME = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
PORT = st.integers(min_value=1, max_value=65535)
HOST = NAME | st.ip_addresses().map(str)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("mac", Destination("mac")),
        ("me@mac", Destination("mac", "me")),
        ("me@mac.lan:2222", Destination("mac.lan", "me", 2222)),
        ("10.0.0.7:22", Destination("10.0.0.7", None, 22)),
        ("fe80::1", Destination("fe80::1")),
        ("[fe80::1]:2222", Destination("fe80::1", None, 2222)),
        ("me@[fe80::1]", Destination("fe80::1", "me")),
        ("ssh://me@mac:2222", Destination("mac", "me", 2222)),
        ("ssh://[::1]:22", Destination("::1", None, 22)),
    ],
)
def test_reads_what_ssh_reads(text: str, meant: Destination) -> None:
    assert read_destination(text) == meant


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-oProxyCommand=reboot",
        "--host",
        "me@-oProxyCommand=reboot",
        "-me@mac",
        "@mac",
        "me@",
        "a@b@c",
        "mac book",
        "mac\nbook",
        "mac\n",
        "mac'",
        'mac"',
        "mac;reboot",
        "mac$(reboot)",
        "mac`reboot`",
        "mac\\",
        "m\u0430c",
        "mac\u200b",
        "\uff4dac",
        "mac\0",
        "mac/x",
        "mac:",
        "mac:0",
        "mac:65536",
        "mac:22x",
        "mac:\u0662",
        "mac:-1",
        "1::2::3",
        "[mac]",
        "[fe80::1",
        "[fe80::1]22",
        "fe80::1%eth0",
        "ssh://",
        "http://mac",
        "m" * 254,
        "u" * 65 + "@mac",
    ],
)
def test_refuses_everything_else_in_one_line(text: str) -> None:
    refusal = read_destination(text)
    assert isinstance(refusal, Refusal)
    assert refusal.code is Code.INVALID_REQUEST
    assert refusal.message.isascii()
    assert refusal.message.isprintable()
    assert "[USER@]HOST[:PORT]" in refusal.message


@given(st.text(max_size=40))
def test_no_text_reads_as_something_that_ssh_takes_for_an_option(text: str) -> None:
    found = read_destination(text)
    if isinstance(found, Destination):
        assert found.host[0] != "-"
        assert set(found.host) <= set(
            "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ._-:"
        )
        assert not (found.user or "u").startswith("-")


@given(host=HOST, user=st.none() | NAME, port=st.none() | PORT)
def test_both_spellings_are_read_back(host: str, user: str | None, port: int | None) -> None:
    destination = Destination(host, user, port)
    assert read_destination(str(destination)) == destination
    assert read_destination(destination.endpoint) == destination
