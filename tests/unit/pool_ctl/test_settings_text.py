"""Settings are changed in a file that a person has written, and nothing else of it is."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_core.errors import Refusal
from pool_ctl.pools.settings_text import with_settings

VALUES = st.one_of(
    st.booleans(), st.none(), st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
)


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("", 'bind = "a:1"\n'),
        ("x = 1", 'x = 1\nbind = "a:1"\n'),
        ("# Ours.\n", 'bind = "a:1"\n# Ours.\n'),
        ("x = 1 # one\n\n# Engines.\n[[e]]\n", 'x = 1 # one\nbind = "a:1"\n\n# Engines.\n[[e]]\n'),
        ("bind = 'b:2' # old\nx = 1\n", 'bind = "a:1"\nx = 1\n'),
        ("[t]\nbind = 'b:2'\n", "bind = \"a:1\"\n[t]\nbind = 'b:2'\n"),
        ("bind = 'a:1' # kept\n", "bind = 'a:1' # kept\n"),
        ("binder = 'b'\n", "binder = 'b'\nbind = \"a:1\"\n"),
    ],
)
def test_one_setting_is_changed_and_the_rest_stays(text: str, after: str) -> None:
    assert with_settings(text, {"bind": "a:1"}) == after


def test_a_setting_is_taken_out() -> None:
    assert with_settings("a = 1\nbind = 'b:2'\nc = 3\n", {"bind": None}) == "a = 1\nc = 3\n"
    assert with_settings("a = 1\n", {"bind": None}) == "a = 1\n"


@pytest.mark.parametrize(
    "text",
    [
        'a = """\nbind = 1\n"""\nbind = "b:2"\n',
        '"bind" = "b:2"\n',
        "x = [\n1,\n]\n'bind' = 'b'\n",
    ],
)
def test_an_odd_spelling_is_left_to_a_person(text: str) -> None:
    refusal = with_settings(text, {"bind": "a:1"})
    assert isinstance(refusal, Refusal)
    assert 'bind = "a:1"' in refusal.message


def test_a_broken_file_is_told() -> None:
    refusal = with_settings("a = \n", {"bind": "a:1"})
    assert isinstance(refusal, Refusal)
    assert "not valid TOML" in refusal.message


@given(st.dictionaries(st.sampled_from(["bind", "pool_id", "tls"]), VALUES))
def test_whatever_is_written_means_what_was_wanted(changes: dict[str, str | bool | None]) -> None:
    text = 'pool_id = "old"\n# note\n\n[t]\ntls = 1\n'
    after = with_settings(text, changes)
    if isinstance(after, Refusal):
        return
    wanted = {"pool_id": "old", "t": {"tls": 1}, **changes}
    assert tomllib.loads(after) == {key: it for key, it in wanted.items() if it is not None}
