"""git status, read strictly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_core.errors import Code, Refusal
from pool_ctl.git.plain import text_of
from pool_ctl.git.porcelain import Kind, Tree, parse_status

OID = "a" * 40
HEAD = f"# branch.oid {OID}\0# branch.head main\0".encode()
PATHS = st.binary(min_size=1).filter(lambda it: b"\0" not in it)
FIELDS = f"N... 100644 100644 100644 {OID} {OID}".encode()


def read(data: bytes) -> Tree:
    tree = parse_status(data)
    assert isinstance(tree, Tree), tree
    return tree


@given(PATHS, PATHS)
def test_every_path_is_read_as_it_is_spelled(path: bytes, before: bytes) -> None:
    data = b"".join(
        (
            HEAD,
            b"1 .M " + FIELDS + b" " + path + b"\0",
            b"2 R. " + FIELDS + b" R100 " + path + b"\0" + before + b"\0",
            b"? " + path + b"\0",
        )
    )
    changed, renamed, untracked = read(data).changes
    assert [changed.path, renamed.path, untracked.path] == [text_of(path)] * 3
    assert renamed.before == text_of(before)
    assert [it.kind for it in (changed, renamed, untracked)] == [
        Kind.CHANGED, Kind.RENAMED, Kind.UNTRACKED,
    ]  # fmt: skip


@given(st.binary())
def test_no_answer_makes_it_fall_over(data: bytes) -> None:
    assert isinstance(parse_status(HEAD + data), Tree | Refusal)
    assert isinstance(parse_status(data), Tree | Refusal)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"# branch.head main\0",
        HEAD[:-1],
        HEAD + b"3 .M x\0",
        HEAD + b"1 .M N... 100644\0",
        HEAD + b"1 XX " + FIELDS + b" x\0",
        HEAD + b"1 .M " + FIELDS.replace(b"N...", b"Q...") + b" x\0",
        HEAD + b"2 R. " + FIELDS + b" R100 x\0",
        HEAD + b"? \0",
    ],
)
def test_what_is_not_understood_is_refused(data: bytes) -> None:
    refusal = parse_status(data)
    assert isinstance(refusal, Refusal)
    assert refusal.code is Code.GIT_FAILED


def test_the_header_tells_branch_and_distance() -> None:
    data = HEAD + b"# branch.upstream origin/main\0# branch.ab +2 -3\0# stash 4\0"
    assert read(data) == Tree(OID, "main", "origin/main", 2, 3)
    fresh = read(b"# branch.oid (initial)\0# branch.head (detached)\0")
    assert (fresh.commit, fresh.branch, fresh.ahead) == (None, None, None)


@pytest.mark.parametrize(
    ("states", "module", "is_work"),
    [
        (".M", "N...", True),
        ("M.", "N...", True),
        (".M", "S.M.", False),
        (".M", "SC..", False),
        ("M.", "SC..", True),
    ],
)
def test_what_differs_in_a_submodule_is_no_work_of_this_checkout(
    states: str, module: str, *, is_work: bool
) -> None:
    fields = FIELDS.replace(b"N...", module.encode())
    tree = read(HEAD + b"1 " + states.encode() + b" " + fields + b" x\0")
    assert bool(tree.work) is is_work
