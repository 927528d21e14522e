"""llorch-pool git on real repositories: what it does, what it refuses, what it leaves alone."""

import json
import os
from pathlib import Path

import pytest

from pool_ctl.git.checkout import open_checkout
from pool_ctl.git.cleaning import find_leavings, remove_leavings
from support.git_repos import GitWorld, must


@pytest.fixture
def world(tmp_path: Path) -> GitWorld:
    return GitWorld(tmp_path)


@pytest.fixture
def bare(world: GitWorld) -> Path:
    return world.remote("suite")


@pytest.fixture
def mine(world: GitWorld, bare: Path) -> Path:
    return world.clone(bare)


def status(world: GitWorld, mine: Path) -> dict[str, object]:
    return json.loads(must(world.pool("status", "--format", "json", at=mine)).stdout)


def changes(world: GitWorld, mine: Path) -> list[list[object]]:
    listed = status(world, mine)["changes"]
    assert isinstance(listed, list)
    return [[it["kind"], it["index"], it["worktree"], it["path"]] for it in listed]


def test_status_names_every_kind_of_change(world: GitWorld, mine: Path) -> None:
    world.commit(mine, "kept", "1\n2\n3\n")
    (mine / "README").write_text("changed\n")
    (mine / "new\nline\t\x1b[31m").write_text("x")
    (mine / "folder").mkdir()
    (mine / "folder" / "inside").write_text("x")
    (mine / "staged").write_text("x")
    world.git(mine, "add", "staged")
    world.git(mine, "mv", "kept", "moved here")
    assert sorted(changes(world, mine), key=str) == [
        ["changed", ".", "M", "README"],
        ["changed", "A", ".", "staged"],
        ["renamed", "R", ".", "moved here"],
        ["untracked", "?", "?", "folder/"],
        ["untracked", "?", "?", "new\nline\t\x1b[31m"],
    ]
    shown = must(world.pool("status", at=mine)).stdout
    assert "\x1b" not in shown
    assert "new line" in shown


def test_a_name_that_is_no_text_is_still_shown(world: GitWorld, mine: Path) -> None:
    Path(os.fsdecode(os.fsencode(mine) + b"/caf\xe9")).write_text("x")
    assert changes(world, mine) == [["untracked", "?", "?", "caf\\xe9"]]


def test_status_hides_what_a_url_carries(world: GitWorld, mine: Path) -> None:
    world.git(mine, "remote", "add", "other", "https://ada:secret@host.example/x.git")
    for shape in ("table", "json", "yaml"):
        shown = must(world.pool("status", "--format", shape, at=mine)).stdout
        assert "https://host.example/x.git" in shown
        assert "secret" not in shown


def test_pull_brings_new_commits_and_keeps_own_ones_on_top(
    world: GitWorld, bare: Path, mine: Path
) -> None:
    own = world.commit(mine, "own", "x")
    theirs = world.publish(bare, "theirs", "x")
    answer = must(world.pool("pull", "--format", "json", at=mine))
    pulled = json.loads(answer.stdout)
    assert pulled["before"] == own
    assert [pulled[key] for key in ("fetched", "own", "submodules")] == [1, 1, 0]
    assert world.git(mine, "rev-parse", "HEAD~1") == theirs
    assert (mine / "own").exists()
    again = must(world.pool("pull", at=mine))
    assert again.stdout == "main has everything of origin/main; 1 of your own on top\n"


def test_a_pull_that_conflicts_leaves_everything_as_it_was(
    world: GitWorld, bare: Path, mine: Path
) -> None:
    world.publish(bare, "README", "theirs\n")
    world.commit(mine, "fine", "x")
    own = world.commit(mine, "README", "own\n")
    refused = must(world.pool("pull", at=mine), 1)
    assert "README" in refused.stderr
    assert "nothing was changed" in refused.stderr
    assert refused.stderr.endswith("(CONFLICT)\n")
    assert world.head(mine) == own
    assert (mine / "README").read_text() == "own\n"
    now = status(world, mine)
    assert (now["branch"], now["operation"], now["clean"]) == ("main", None, True)


def test_pull_refuses_a_dirty_tree_before_it_fetches(
    world: GitWorld, bare: Path, mine: Path
) -> None:
    world.publish(bare, "theirs", "x")
    (mine / "README").write_text("changed\n")
    refused = must(world.pool("pull", at=mine), 1)
    assert "1 file has changes (README): git commit or git stash them first" in refused.stderr
    assert status(world, mine)["behind"] == 0
    assert (mine / "README").read_text() == "changed\n"


def test_pull_lets_untracked_files_be_unless_they_are_in_the_way(
    world: GitWorld, bare: Path, mine: Path
) -> None:
    (mine / "note").write_text("mine")
    world.publish(bare, "theirs", "x")
    must(world.pool("pull", at=mine))
    world.publish(bare, "note", "theirs")
    before = world.head(mine)
    refused = must(world.pool("pull", at=mine), 1)
    assert "these files would be overwritten: note" in refused.stderr
    assert (mine / "note").read_text() == "mine"
    assert world.head(mine) == before
    assert status(world, mine)["operation"] is None


def test_pull_says_what_is_missing(world: GitWorld, bare: Path, mine: Path) -> None:
    world.git(mine, "switch", "--quiet", "--create", "topic")
    assert "topic follows no remote branch" in must(world.pool("pull", at=mine), 1).stderr
    world.publish(bare, "x", "x", branch="short-lived")
    world.git(mine, "fetch", "--quiet")
    world.git(mine, "switch", "--quiet", "short-lived")
    world.git(bare, "branch", "-D", "short-lived")
    world.git(mine, "fetch", "--quiet", "--prune")
    assert "which is gone" in must(world.pool("pull", at=mine), 1).stderr
    world.git(mine, "switch", "--quiet", "--detach")
    assert "no branch is checked out" in must(world.pool("pull", at=mine), 1).stderr
    world.git(mine, "switch", "--quiet", "--orphan", "empty")
    assert "empty has no commit yet" in must(world.pool("pull", at=mine), 1).stderr


def test_an_operation_of_the_users_own_is_left_to_the_user(
    world: GitWorld, bare: Path, mine: Path
) -> None:
    world.publish(bare, "README", "theirs\n")
    world.commit(mine, "README", "own\n")
    world.git(mine, "pull", "--rebase", code=1)
    assert status(world, mine)["operation"] == "rebase"
    for words in (["pull"], ["sync", "--force"]):
        refused = must(world.pool(*words, at=mine), 1)
        assert "a git rebase is under way" in refused.stderr
    assert status(world, mine)["operation"] == "rebase"


def test_sync_shows_what_is_lost_and_then_makes_everything_the_remotes(
    world: GitWorld, bare: Path, mine: Path
) -> None:
    theirs = world.publish(bare, "note", "theirs")
    own = world.commit(mine, "own", "x")
    (mine / "README").write_text("changed\n")
    (mine / "note").write_text("mine")
    (mine / "stays").write_text("mine")
    looked = must(world.pool("sync", "--dry-run", "--format", "json", at=mine))
    plan = json.loads(looked.stdout)
    assert plan["lost"] == {
        "commits_total": 1,
        "commits": [f"{own[:7]} Set own"],
        "changes": ["README"],
        "overwritten": ["note"],
        "submodules": [],
    }
    assert world.head(mine) == own
    shown = must(world.pool("sync", "--force", at=mine)).stdout
    assert "Set own" in shown
    assert "README" in shown
    assert world.head(mine) == theirs
    assert (mine / "README").read_text() == "suite\n"
    assert (mine / "note").read_text() == "theirs"
    assert (mine / "stays").read_text() == "mine"


def test_sync_goes_to_the_upstream_and_not_always_to_main(
    world: GitWorld, bare: Path, mine: Path
) -> None:
    topic = world.publish(bare, "topic", "x", branch="topic")
    world.git(mine, "fetch", "--quiet")
    world.git(mine, "switch", "--quiet", "topic")
    world.commit(mine, "own", "x")
    must(world.pool("sync", "--force", at=mine))
    assert world.head(mine) == topic


def test_sync_without_an_upstream_goes_to_the_default_branch(
    world: GitWorld, bare: Path, mine: Path
) -> None:
    main = world.head(mine)
    world.git(mine, "remote", "set-head", "origin", "--delete")
    world.git(mine, "switch", "--quiet", "--create", "topic")
    world.commit(mine, "own", "x")
    must(world.pool("sync", "--force", at=mine))
    assert world.head(mine) == main
    world.git(mine, "switch", "--quiet", "--detach")
    newer = world.publish(bare, "newer", "x")
    must(world.pool("sync", "--force", at=mine))
    assert world.head(mine) == newer


def test_sync_fills_a_checkout_that_has_no_commit_yet(world: GitWorld, bare: Path) -> None:
    fresh = world.folder / "fresh"
    world.git(world.folder, "init", "--quiet", str(fresh))
    assert must(world.pool("log", at=fresh)).stdout == ""
    assert status(world, fresh)["commit"] is None
    assert "no remote" in must(world.pool("sync", "--force", at=fresh), 1).stderr
    world.git(fresh, "remote", "add", "origin", str(bare))
    (fresh / "README").write_text("mine")
    plan = json.loads(must(world.pool("sync", "--dry-run", "--format", "json", at=fresh)).stdout)
    assert plan["lost"]["overwritten"] == ["README"]
    must(world.pool("sync", "--force", at=fresh))
    assert (fresh / "README").read_text() == "suite\n"


def test_a_history_that_was_rewritten_is_joined_or_taken(
    world: GitWorld, bare: Path, mine: Path
) -> None:
    world.publish(bare, "x", "1")
    must(world.pool("pull", at=mine))
    amended = world.publish(bare, "x", "2", amend=True)
    must(world.pool("sync", "--force", at=mine))
    assert world.head(mine) == amended


def test_clean_removes_what_was_listed_and_nothing_else(world: GitWorld, mine: Path) -> None:
    (mine / ".gitignore").write_text("ignored\n")
    world.git(mine, "add", ".gitignore")
    odd = ["a*b", "with space", "-n", "tab\there", 'quote"', "ünï", "back\\slash"]
    for name in (*odd, "ignored"):
        (mine / name).write_text("x")
    (mine / "folder" / "deep").mkdir(parents=True)
    (mine / "folder" / "deep" / "file").write_text("x")
    (mine / "mixed").mkdir()
    world.git(mine, "init", "--quiet", "mixed/own")
    (mine / "mixed" / "file").write_text("x")
    listed = must(world.pool("clean", "--dry-run", "--format", "json", at=mine))
    found = json.loads(listed.stdout)
    assert sorted(found["paths"]) == sorted([*odd, "folder/", "mixed/file"])
    assert found["repositories"] == ["mixed/own"]
    assert found["removed"] is False
    refused = must(world.pool("clean", at=mine), 2)
    assert "with space" in refused.stdout
    assert "take --force" in refused.stderr
    assert (mine / "with space").exists()
    must(world.pool("clean", "--force", at=mine))
    left = sorted(path.name for path in mine.iterdir())
    assert left == [".git", ".gitignore", "README", "ignored", "mixed"]
    assert [path.name for path in (mine / "mixed").iterdir()] == ["own"]
    assert "nothing to remove" in must(world.pool("clean", at=mine)).stderr


def test_what_has_come_since_the_list_stays_whatever_the_names_mean_to_git(
    world: GitWorld, mine: Path
) -> None:
    for name in ("a*", ":!b", "[c]"):
        (mine / name).write_text("x")
    checkout = open_checkout(mine, world.env, is_named=True)
    found = find_leavings(checkout)
    for name in ("ab", "b", "c"):
        (mine / name).write_text("x")
    remove_leavings(checkout, found)
    assert sorted(path.name for path in mine.iterdir()) == [".git", "README", "ab", "b", "c"]


def test_log_draws_merges_and_counts(world: GitWorld, mine: Path) -> None:
    world.git(mine, "switch", "--quiet", "--create", "topic")
    world.commit(mine, "a", "x")
    world.git(mine, "switch", "--quiet", "main")
    world.commit(mine, "b", "x")
    world.git(mine, "merge", "--quiet", "--no-ff", "--message", "Join \x1b[31m", "topic")
    shown = must(world.pool("log", at=mine)).stdout
    assert "|\\" in shown
    assert "\x1b" not in shown
    newest, *_ = json.loads(must(world.pool("log", "-n", "2", "--format", "json", at=mine)).stdout)
    assert len(newest["parents"]) == 2
    for index in range(20):
        world.commit(mine, "c", f"{index}")
    assert len(json.loads(must(world.pool("log", "--format", "json", at=mine)).stdout)) == 20


def test_a_subject_without_end_is_cut_for_people_and_whole_for_programs(
    world: GitWorld, mine: Path
) -> None:
    subject = f"a{'b' * 100_000}\x85\x85c"
    note = world.folder / "note"
    note.write_text(subject)
    world.git(mine, "commit", "--quiet", "--allow-empty", "--file", str(note))
    for words in (["log"], ["status"], ["branches"]):
        shown = must(world.pool(*words, at=mine)).stdout
        assert len(shown) < 2000
        assert "abbb" in shown
    assert len(must(world.pool("log", at=mine)).stdout.splitlines()) == 2
    newest, *_ = json.loads(must(world.pool("log", "--format", "json", at=mine)).stdout)
    assert newest["subject"] == subject


def test_branches_count_ahead_and_behind(world: GitWorld, bare: Path, mine: Path) -> None:
    world.publish(bare, "x", "1")
    world.publish(bare, "x", "2")
    world.git(mine, "fetch", "--quiet")
    world.commit(mine, "own", "x")
    listed = json.loads(must(world.pool("branches", "--format", "json", at=mine)).stdout)
    rows = {row["name"]: row for row in listed}
    assert set(rows) == {"main", "origin/main"}
    assert [rows["main"][key] for key in ("ahead", "behind", "current")] == [1, 2, True]
    assert rows["origin/main"]["ahead"] is None


def test_a_linked_worktree_is_a_checkout_of_its_own(
    world: GitWorld, bare: Path, mine: Path
) -> None:
    world.publish(bare, "topic", "x", branch="topic")
    world.git(mine, "fetch", "--quiet")
    beside = world.folder / "beside"
    world.git(mine, "worktree", "add", "--quiet", str(beside), "topic")
    newer = world.publish(bare, "topic", "y", branch="topic")
    must(world.pool("pull", "--repo", str(beside)))
    assert world.head(beside) == newer
    assert status(world, mine)["branch"] == "main"


def test_a_shallow_clone_says_so_and_can_be_pulled(world: GitWorld, bare: Path) -> None:
    world.publish(bare, "x", "1")
    shallow = world.folder / "shallow"
    world.git(world.folder, "clone", "--quiet", "--depth=1", f"file://{bare}", str(shallow))
    assert status(world, shallow)["shallow"] is True
    newer = world.publish(bare, "x", "2")
    must(world.pool("pull", at=shallow))
    assert world.head(shallow) == newer
