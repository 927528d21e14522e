"""When a checkout may be pulled, synced or moved, and what is said if not."""

from typing import Any

import pytest

from orchestrator_core.errors import Code, Refusal
from pool_ctl.git.history import Branch
from pool_ctl.git.porcelain import Change, Kind, Tree
from pool_ctl.git.rules import (
    Losses,
    Operation,
    conflicted,
    find_branch,
    gone,
    list_paths,
    loss_lines,
    refuse_pull,
    refuse_switch,
    refuse_sync,
)

OID = "d" * 40
TREE = Tree(OID, "main")
DIRTY = Tree(OID, "main", changes=(Change(Kind.CHANGED, "a", ".", "M"),))


def branch(name: str = "main", **facts: Any) -> Branch:
    full = f"refs/remotes/{name}" if facts.get("is_remote") else f"refs/heads/{name}"
    return Branch(name, full, OID, "", "", **{"upstream": "refs/remotes/origin/main", **facts})


def test_a_clean_branch_with_an_upstream_may_be_pulled() -> None:
    assert refuse_pull(TREE, None, branch()) is None


@pytest.mark.parametrize(
    ("tree", "operation", "upstream", "said"),
    [
        (TREE, Operation.REBASE, branch(), "git rebase --abort"),
        (TREE, Operation.BISECT, branch(), "git bisect reset"),
        (Tree(OID, None), None, None, "no branch is checked out"),
        (Tree(None, "main"), None, None, "no commit yet"),
        (TREE, None, branch(upstream=None), "--set-upstream-to=origin/main"),
        (TREE, None, branch(is_gone=True), "--unset-upstream main"),
        (DIRTY, None, branch(), "1 file has changes (a)"),
    ],
)
def test_a_pull_that_cannot_end_well_is_refused(
    tree: Tree, operation: Operation | None, upstream: Branch | None, said: str
) -> None:
    refusal = refuse_pull(tree, operation, upstream)
    assert refusal is not None
    assert refusal.code is Code.CONFLICT
    assert said in refusal.message


def test_a_name_from_a_remote_stays_a_name_in_an_advice() -> None:
    name = "x;$(touch y)"
    refusal = refuse_pull(TREE, None, branch(name, upstream=None))
    assert refusal is not None
    assert "--set-upstream-to='origin/x;$(touch y)' 'x;$(touch y)' makes" in refusal.message
    assert "--unset-upstream 'x;$(touch y)'" in gone(branch(name, is_gone=True)).message


@pytest.mark.parametrize("operation", Operation)
def test_a_sync_ends_only_what_a_reset_ends(operation: Operation) -> None:
    ended = operation in (Operation.MERGE, Operation.PICK, Operation.REVERT)
    assert (refuse_sync(operation) is None) is ended
    assert refuse_sync(None) is None


def test_a_submodule_with_work_is_not_moved() -> None:
    assert refuse_switch("x", TREE, 0) is None
    for tree, unpublished, said in ((DIRTY, 0, "git stash them in x"), (TREE, 2, "2 commits are")):
        refusal = refuse_switch("x", tree, unpublished)
        assert refusal is not None
        assert said in refusal.message


def test_a_branch_is_found_here_before_it_is_found_there() -> None:
    here = branch("topic")
    there = branch("origin/topic", is_remote=True)
    assert find_branch([there, here], "topic") == here
    assert find_branch([there], "topic") == there
    several = find_branch([there, branch("fork/topic", is_remote=True)], "topic")
    missing = find_branch([there], "nothing")
    assert isinstance(several, Refusal)
    assert isinstance(missing, Refusal)
    assert (several.code, missing.code) == (Code.CONFLICT, Code.NOT_FOUND)


def test_losses_are_counted_and_named_up_to_a_bound() -> None:
    assert loss_lines(Losses()) == []
    assert Losses().is_empty
    losses = Losses(30, tuple(f"{it} x" for it in range(20)), overwritten=("n\x1b",))
    lines = loss_lines(losses)
    assert lines[0] == "30 commits that are not there:"
    assert loss_lines(Losses(1, ("1 x",)))[0] == "1 commit that is not there:"
    assert lines[21] == "  and 10 more"
    assert lines[22:] == ["1 untracked file that is overwritten:", "  n"]


def test_files_of_a_conflict_are_named_up_to_a_bound() -> None:
    assert list_paths(["a", "b"]) == "a, b"
    assert list_paths([str(it) for it in range(8)]) == "0, 1, 2, 3, 4 and 3 more"
    refusal = conflicted(["a", "b"], "origin/main")
    assert refusal.code is Code.CONFLICT
    assert refusal.details == {"files": ["a", "b"]}
