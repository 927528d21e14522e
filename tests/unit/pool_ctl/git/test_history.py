"""Commits and branches, read strictly."""

import pytest

from orchestrator_core.errors import Refusal
from pool_ctl.git.history import Branch, Commit, parse_commits, parse_refs

OID = "b" * 40
LINE = [
    "refs/heads/main", OID, "*", "", "refs/remotes/origin/main", "origin", "ahead 1, behind 2",
    "2026-01-02T03:04:05+00:00", "Subject",
]  # fmt: skip


def ref(**changed: str) -> bytes:
    keys = ("name", "oid", "head", "symref", "upstream", "remote", "track", "at", "subject")
    fields = [changed.get(key, it) for key, it in zip(keys, LINE, strict=True)]
    return "\0".join(fields).encode() + b"\n"


def branch(data: bytes) -> Branch:
    found = parse_refs(data)
    assert isinstance(found, list), found
    return found[0]


def test_commits_are_read_field_by_field() -> None:
    fields = (OID, OID[:7], f"{OID} {OID}", "Ada", "2026-01-02", "HEAD -> main, tag: v1", "a: b")
    commits = parse_commits(("\0".join(fields) + "\0").encode() * 2)
    assert (
        commits
        == [
            Commit(
                OID, OID[:7], (OID, OID), "Ada", "2026-01-02", ("HEAD -> main", "tag: v1"), "a: b"
            )
        ]
        * 2
    )
    assert parse_commits(b"") == []


@pytest.mark.parametrize("data", [b"x\0", b"x" * 40 + b"\0" * 7, OID.encode() + b"\0" * 6])
def test_half_a_commit_is_refused(data: bytes) -> None:
    assert isinstance(parse_commits(data), Refusal)


@pytest.mark.parametrize(
    ("track", "counts"),
    [
        ("ahead 1, behind 2", (1, 2)),
        ("ahead 4", (4, 0)),
        ("behind 5", (0, 5)),
        ("", (0, 0)),
        ("gone", (None, None)),
    ],
)
def test_the_distance_to_the_upstream_is_counted(
    track: str, counts: tuple[int | None, int | None]
) -> None:
    found = branch(ref(track=track))
    assert (found.ahead, found.behind, found.is_gone) == (*counts, track == "gone")


def test_a_branch_without_an_upstream_has_no_distance() -> None:
    found = branch(ref(upstream="", remote="", track=""))
    assert (found.upstream, found.ahead, found.behind) == (None, None, None)


def test_remote_branches_are_told_apart_and_other_names_are_left_out() -> None:
    data = ref(name="refs/remotes/origin/HEAD", symref="refs/remotes/origin/main")
    data += ref(name="refs/remotes/origin/main", head=" ", upstream="", track="")
    found = branch(data)
    assert (found.name, found.is_remote, found.is_current) == ("origin/main", True, False)


@pytest.mark.parametrize(
    "data", [b"x\n", ref(oid="short"), ref(name="refs/tags/v1"), ref(track="nowhere")]
)
def test_a_strange_line_is_refused(data: bytes) -> None:
    assert isinstance(parse_refs(data), Refusal)
