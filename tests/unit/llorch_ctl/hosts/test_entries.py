"""What a [hosts.NAME] table means, and the one line that says what is wrong with it."""

from pathlib import Path

import pytest

from llorch_ctl.hosts.entries import HostEntry, read_entry, spell_entry, unfit_name
from orchestrator_core.clients.ssh.destination import Destination
from orchestrator_core.errors import Code, Refusal

FOLDER = Path("/etc/person")


def refused(name: str, table: object) -> str:
    found = read_entry(name, table, FOLDER)
    assert isinstance(found, Refusal)
    assert found.code is Code.CONFIG_INVALID
    assert "\n" not in found.message
    return found.message


def test_every_key_has_its_place() -> None:
    table = {
        "ssh": "me@mac:2222",
        "url": "https://mac:9200/",
        "key_file": "mac.key",
        "ca": "/somewhere/mac.crt",
        "command": "/opt/llorch/bin/llorch-pool",
        "home": "/srv/llorch",
    }
    assert read_entry("mac", table, FOLDER) == HostEntry(
        "mac",
        Destination("mac", "me", 2222),
        "https://mac:9200",
        FOLDER / "mac.key",
        Path("/somewhere/mac.crt"),
        "/opt/llorch/bin/llorch-pool",
        "/srv/llorch",
    )


def test_an_empty_table_means_the_name_itself() -> None:
    assert read_entry("mac", {}, FOLDER) == HostEntry("mac", Destination("mac"))


def test_a_host_with_an_address_alone_has_no_ssh() -> None:
    found = read_entry("mac", {"url": "http://mac:9200"}, FOLDER)
    assert isinstance(found, HostEntry)
    assert found.ssh is None


def test_what_is_spelled_is_read_again() -> None:
    entry = HostEntry("mac", Destination("::1", "me", 22), None, Path("/k"), None, "/bin/x", "/h")
    assert read_entry("mac", dict(spell_entry(entry)), FOLDER) == entry


@pytest.mark.parametrize(
    ("table", "word"),
    [
        ({"shh": "mac"}, "unknown key 'shh' (did you mean \"ssh\"?)"),
        ({"password": "x"}, "unknown key 'password'"),
        ({"ssh": 22}, 'key "ssh": it takes a text'),
        ({"ssh": ""}, 'key "ssh": it takes a text'),
        ({"ssh": "-oProxyCommand=x"}, "no SSH destination"),
        ({"url": "mac:9200"}, "is not a URL"),
        ({"url": "ftp://mac"}, "is not a URL"),
        ({"command": "llorch-pool"}, "is not an absolute path"),
        ({"home": "~/x"}, "is not an absolute path"),
        ({"ssh": "mac\n"}, "cannot be printed"),
        ("mac", "it is no table"),
    ],
)
def test_what_is_wrong_is_named(table: object, word: str) -> None:
    message = refused("mac", table)
    assert message.startswith("llorch.toml: [hosts.mac]: ")
    assert word in message


@pytest.mark.parametrize(
    "name",
    ["", "-x", "a b", "a\nb", 'a"b', "$(id)", "m\u0430c", "x" * 65, "me@mac", "../x", "auto"],
)
def test_a_name_that_could_mean_something_else_is_none(name: str) -> None:
    refusal = unfit_name(name)
    assert refusal is not None
    assert refusal.message.isprintable()
    assert refusal.message.isascii()
    refused(name, {})


def test_usual_names_are_fine() -> None:
    assert all(unfit_name(name) is None for name in ("mac", "m1.home.arpa", "A_b-9", "x" * 64))
