"""What a hub tells is read strictly: commits, names and hashes are right, or nothing is taken."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_core.catalog.gguf_names import safe_relative
from orchestrator_core.errors import Code, Refusal
from pool_core.fetch.hub_answers import (
    Found,
    RemoteFile,
    fault_of_files,
    file_url,
    info_url,
    next_query,
    read_info,
    read_tree,
)

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SHA = "ab" * 32
HUB = "https://hub.example"


def info(**told: Any) -> Found | Refusal:
    page = {"id": "acme/tiny", "sha": COMMIT, "gated": False, "tags": [], **told}
    return read_info(json.dumps(page).encode(), revision=None)


def tree(*entries: Any) -> tuple[RemoteFile | None, ...] | Refusal:
    body = json.dumps(list(entries)).encode()
    return read_tree(body, endpoint=HUB, repo="acme/tiny", commit=COMMIT)


def large(path: str = "a.gguf", **told: Any) -> dict[str, Any]:
    lfs = {"oid": SHA, "size": 7, "pointerSize": 133}
    return {"type": "file", "path": path, "size": 7, "oid": "c" * 40, "lfs": lfs, **told}


def refused(answer: object) -> str:
    assert isinstance(answer, Refusal)
    assert answer.code is Code.INTERNAL
    return answer.message


def test_a_page_tells_commit_licence_and_terms() -> None:
    assert info(cardData={"license": "apache-2.0"}) == Found(COMMIT, "apache-2.0", gated=False)
    assert info(tags=["gguf", "license:mit"], gated="manual") == Found(COMMIT, "mit", gated=True)
    assert info(gated=True, cardData=None, tags=None) == Found(COMMIT, None, gated=True)


@pytest.mark.parametrize(
    "sha", [None, 5, "", COMMIT.upper(), COMMIT[:39], f"{COMMIT}\n", "../" * 9]
)
def test_a_page_without_a_proper_commit_is_refused(sha: object) -> None:
    assert "names no commit" in refused(info(sha=sha))


def test_a_page_of_another_commit_than_the_wanted_one_is_refused() -> None:
    body = json.dumps({"sha": COMMIT}).encode()
    assert isinstance(read_info(body, revision=COMMIT), Found)
    assert isinstance(read_info(body, revision="main"), Found)
    assert "tells of" in refused(read_info(body, revision="f" * 40))


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b"\xff", b"[" * 100_000])
def test_what_is_no_page_of_a_model_is_refused(body: bytes) -> None:
    refused(read_info(body, revision=None))


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b"null", b"[1]", b'[{"type":"link"}]'])
def test_what_is_no_list_of_files_is_refused(body: bytes) -> None:
    refused(read_tree(body, endpoint=HUB, repo="acme/tiny", commit=COMMIT))


def test_a_licence_that_is_no_plain_line_is_left_out() -> None:
    for license_ in ("a\x1b[31mb", ["mit"], 5, "   "):
        found = info(cardData={"license": license_})
        assert found == Found(COMMIT, None, gated=False)


def test_files_come_with_hash_and_address_and_folders_only_count() -> None:
    small = {"type": "file", "path": "README.md", "size": 3, "oid": "c" * 40}
    folder = {"type": "directory", "path": "sub", "oid": "c" * 40, "size": 0}
    url = f"{HUB}/acme/tiny/resolve/{COMMIT}"
    assert tree(small, folder, large("sub/a b.gguf")) == (
        RemoteFile("README.md", 3, None, f"{url}/README.md"),
        None,
        RemoteFile("sub/a b.gguf", 7, SHA, f"{url}/sub/a%20b.gguf"),
    )


@pytest.mark.parametrize(
    "path", ["../up.gguf", "/abs.gguf", "a//b", "-x", "a\\b", "a\0b", "C:x", ""]
)
def test_a_file_that_no_folder_should_hold_is_left_out(path: str) -> None:
    assert tree(large(path), large("good.gguf")) == (None, *(tree(large("good.gguf")) or ()))


@given(st.text())
def test_every_name_that_is_taken_passed_the_gate(path: str) -> None:
    read = tree(large(path))
    assert not isinstance(read, Refusal)
    for file in read:
        assert file is None or safe_relative(file.path) == path


@pytest.mark.parametrize("oid", [None, "", SHA.upper(), SHA[:-1], SHA + "0", "../" * 21 + "x", 5])
def test_a_large_file_without_a_proper_hash_spoils_the_answer(oid: object) -> None:
    assert "SHA-256" in refused(tree(large(lfs={"oid": oid, "size": 7})))


@pytest.mark.parametrize("size", [None, -1, 1.5, "7", True, 1 << 60])
def test_a_file_without_a_proper_size_spoils_the_answer(size: object) -> None:
    assert "size" in refused(tree(large(size=size, lfs={"oid": SHA})))


def test_a_large_file_has_one_size_and_a_path_one_file() -> None:
    assert "two sizes" in refused(tree(large(lfs={"oid": SHA, "size": 8})))
    twice = tree(large(), large())
    assert not isinstance(twice, Refusal)
    assert "twice" in refused(fault_of_files([file for file in twice if file is not None]))


def test_the_next_page_is_asked_where_we_know_the_hub_to_be() -> None:
    link = '<https://evil.example/x?recursive=true&cursor=ab%3D>; rel="next"'
    assert next_query({"link": link}) == "recursive=true&cursor=ab%3D"
    assert next_query({}) is None
    assert next_query({"link": '<https://hub.example/x?cursor=a>; rel="prev"'}) is None


@pytest.mark.parametrize("link", ['<https://h/x>; rel="next"', '<https://h/x?a b>; rel="next"'])
def test_a_next_page_that_cannot_be_asked_for_is_not_the_end_of_a_list(link: str) -> None:
    refused(next_query({"link": link}))


def test_addresses_quote_what_they_must() -> None:
    assert info_url(HUB, "a/b", None) == f"{HUB}/api/models/a/b"
    assert info_url(HUB, "a/b", "refs/pr/1") == f"{HUB}/api/models/a/b/revision/refs%2Fpr%2F1"
    assert file_url(HUB, "a/b", COMMIT, "x?y/z#.gguf").endswith("/x%3Fy/z%23.gguf")
