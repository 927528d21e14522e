"""One table is written into a text and nothing else of it changes."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llorch_ctl.hosts.tables import with_table, without_table
from orchestrator_core.errors import Refusal

TEXT = """\
# My machines.

[hosts.mac] # the old one
ssh = "me@mac"   # by hand
url = "http://mac:9200"

# The big one.
[hosts.workstation]
ssh = "ws"
"""

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
WORDS = st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=20)
VALUES = st.dictionaries(st.sampled_from(["ssh", "url", "ca"]), WORDS, max_size=3)


def text_of(found: str | Refusal) -> str:
    assert isinstance(found, str)
    return found


def test_a_new_table_comes_last_and_all_else_stays() -> None:
    new = text_of(with_table(TEXT, "blep", [("ssh", "blep"), ("home", "/srv")]))
    assert new == TEXT + '\n[hosts.blep]\nssh = "blep"\nhome = "/srv"\n'


def test_a_table_is_replaced_in_its_place() -> None:
    new = text_of(with_table(TEXT, "mac", [("ssh", "you@mac")]))
    assert new == TEXT.replace(
        '[hosts.mac] # the old one\nssh = "me@mac"   # by hand\nurl = "http://mac:9200"\n',
        '[hosts.mac]\nssh = "you@mac"\n',
    )


def test_a_table_is_taken_out_and_what_belongs_to_the_next_stays() -> None:
    new = text_of(without_table(TEXT, "mac"))
    assert new == '# My machines.\n\n\n# The big one.\n[hosts.workstation]\nssh = "ws"\n'
    assert text_of(without_table(new, "mac")) == new


def test_an_empty_file_gets_its_first_host() -> None:
    assert with_table("", "mac", [("ssh", "mac")]) == '[hosts.mac]\nssh = "mac"\n'


def test_a_file_without_a_last_line_end_is_ended_first() -> None:
    new = text_of(with_table('[hosts.a]\nssh = "a"', "b", []))
    assert tomllib.loads(new) == {"hosts": {"a": {"ssh": "a"}, "b": {}}}


@pytest.mark.parametrize(
    "text",
    [
        'hosts = { mac = { ssh = "mac" } }\n',
        'hosts.mac.ssh = "mac"\n',
        '[hosts]\nmac = { ssh = "mac" }\n',
        '[hosts]\nmac.ssh = "mac"\n',
    ],
)
def test_spellings_that_a_program_cannot_change_are_refused(text: str) -> None:
    assert isinstance(with_table(text, "mac", [("ssh", "other")]), Refusal)
    assert isinstance(without_table(text, "mac"), Refusal)


@pytest.mark.parametrize("inside", ["[hosts.mac]", "[hosts.mac]\n[x]"])
def test_a_header_inside_a_text_is_no_table(inside: str) -> None:
    text = f'[hosts.a]\nhome = """/x\n{inside}\n"""\n'
    found = with_table(text, "mac", [("ssh", "mac")])
    assert isinstance(found, Refusal)


@given(st.dictionaries(NAMES, VALUES, max_size=4), NAMES, VALUES)
def test_what_is_written_is_what_is_read(
    hosts: dict[str, dict[str, str]], name: str, values: dict[str, str]
) -> None:
    text = ""
    for key, table in hosts.items():
        text = text_of(with_table(text, key, list(table.items())))
    text = text_of(with_table(text, name, list(values.items())))
    assert tomllib.loads(text) == {"hosts": hosts | {name: values}}
    left = text_of(without_table(text, name))
    assert tomllib.loads(left).get("hosts", {}) == {k: v for k, v in hosts.items() if k != name}
