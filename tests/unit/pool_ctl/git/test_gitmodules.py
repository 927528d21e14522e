"""Which submodules are recorded, and which one a person means."""

import pytest

from orchestrator_core.errors import Code, Refusal
from pool_ctl.git.gitmodules import (
    Gitlink,
    Recorded,
    find_submodule,
    join,
    parse_gitlinks,
    parse_gitmodules,
    refuse_unusable,
)

OID = "c" * 40
KNOWN = [
    Recorded("reference/llama.cpp", "reference/llama.cpp", OID, "u"),
    Recorded("candle", "reference/candle", OID, "u"),
    Recorded("other", "vendor/candle-vllm", OID, "u"),
    Recorded("tool", "a/twin", OID, "u"),
    Recorded("tools", "b/twin", OID, "u"),
]


def test_only_submodules_are_taken_from_the_index() -> None:
    data = f"100644 {OID} 0\tREADME\x00160000 {OID} 0\ta\tb\nc\x00".encode()
    assert parse_gitlinks(data) == [Gitlink("a\tb\nc", OID)]
    assert isinstance(parse_gitlinks(b"what\0"), Refusal)


def test_of_a_conflict_the_side_of_this_branch_counts() -> None:
    rows = ((1, "1" * 40), (2, "2" * 40), (3, "3" * 40))
    data = "".join(f"160000 {oid} {stage}\tx\0" for stage, oid in rows)
    assert parse_gitlinks(data.encode()) == [Gitlink("x", "2" * 40, is_conflict=True)]


def test_settings_are_read_whatever_the_name_and_the_value_are() -> None:
    data = b"submodule.a.b c.path\nx\0submodule.a.b c.url\nhttps://h.example/\nx\0"
    assert parse_gitmodules(data) == {"a.b c": {"path": "x", "url": "https://h.example/\nx"}}
    assert isinstance(parse_gitmodules(b"core.path\nx\0"), Refusal)


def test_a_link_without_an_entry_keeps_its_path_and_has_no_url() -> None:
    entries = {"name": {"path": "a", "url": "u", "branch": "b"}, "gone": {"path": "z", "url": "u"}}
    assert join([Gitlink("a", OID), Gitlink("x", OID)], entries) == [
        Recorded("name", "a", OID, "u", "b"),
        Recorded("x", "x", OID),
    ]


@pytest.mark.parametrize(
    ("wanted", "path"),
    [
        ("reference/llama.cpp", "reference/llama.cpp"),
        ("reference/llama.cpp/", "reference/llama.cpp"),
        ("llama.cpp", "reference/llama.cpp"),
        ("candle", "reference/candle"),
        ("candle-vllm", "vendor/candle-vllm"),
        ("tool", "a/twin"),
    ],
)
def test_a_submodule_is_found_by_name_path_or_last_part(wanted: str, path: str) -> None:
    found = find_submodule(KNOWN, wanted)
    assert isinstance(found, Recorded)
    assert found.path == path


@pytest.mark.parametrize(
    ("wanted", "code"),
    [("twin", Code.INVALID_REQUEST), ("nothing", Code.NOT_FOUND), ("", Code.NOT_FOUND)],
)
def test_none_and_several_are_refused(wanted: str, code: Code) -> None:
    refusal = find_submodule(KNOWN, wanted)
    assert isinstance(refusal, Refusal)
    assert refusal.code is code


def test_what_has_no_url_or_two_commits_cannot_be_moved() -> None:
    no_url = refuse_unusable(Recorded("x", "x", OID))
    conflict = refuse_unusable(Recorded("x", "x", OID, "u", is_conflict=True))
    assert no_url is not None
    assert conflict is not None
    assert (no_url.code, conflict.code) == (Code.GIT_FAILED, Code.CONFLICT)
    assert refuse_unusable(KNOWN[0]) is None
