"""llorch-pool git where work could be lost: nothing goes that was not shown before."""

import json
from pathlib import Path

import pytest

from support.git_repos import GitWorld, must

ENGINE = "engine"


@pytest.fixture
def world(tmp_path: Path) -> GitWorld:
    return GitWorld(tmp_path)


@pytest.fixture
def bare(world: GitWorld) -> Path:
    return world.remote("suite")


@pytest.fixture
def mine(world: GitWorld, bare: Path) -> Path:
    return world.clone(bare)


def lost(world: GitWorld, mine: Path) -> dict[str, object]:
    plan = must(world.pool("sync", "--dry-run", "--format", "json", at=mine))
    return json.loads(plan.stdout)["lost"]


def states(world: GitWorld, mine: Path) -> str:
    return world.git(mine, "status", "--short")


def test_a_commit_that_the_remote_has_taken_back_does_not_come_again(
    world: GitWorld, bare: Path, mine: Path
) -> None:
    world.publish(bare, "x", "1")
    must(world.pool("pull", at=mine))
    amended = world.publish(bare, "x", "2", amend=True)
    pulled = must(world.pool("pull", at=mine))
    assert "origin/main was rewritten: leaving out 1 commit" in pulled.stderr
    assert world.head(mine) == amended


def test_own_commits_stay_on_top_of_a_history_that_was_rewritten(
    world: GitWorld, bare: Path, mine: Path
) -> None:
    world.publish(bare, "x", "1")
    must(world.pool("pull", at=mine))
    world.commit(mine, "own", "x")
    amended = world.publish(bare, "x", "2", amend=True)
    pulled = json.loads(must(world.pool("pull", "--format", "json", at=mine)).stdout)
    assert [pulled[key] for key in ("fetched", "dropped", "own")] == [1, 1, 1]
    assert world.git(mine, "rev-parse", "HEAD~1") == amended
    assert (mine / "x").read_text() == "2"


def test_an_own_commit_that_the_remote_has_taken_in_is_not_counted_any_more(
    world: GitWorld, bare: Path, mine: Path
) -> None:
    world.publish(bare, "first", "1")
    world.commit(mine, "x", "1")
    theirs = world.publish(bare, "x", "1")
    pulled = json.loads(must(world.pool("pull", "--format", "json", at=mine)).stdout)
    assert (pulled["own"], pulled["after"]) == (0, theirs)


@pytest.mark.parametrize("words", [["pull"], ["sync", "--force"]])
def test_a_branch_that_is_gone_from_the_remote_is_said_without_pruning(
    world: GitWorld, bare: Path, mine: Path, words: list[str]
) -> None:
    world.publish(bare, "x", "x", branch="topic")
    world.git(mine, "fetch", "--quiet")
    world.git(mine, "switch", "--quiet", "topic")
    own = world.commit(mine, "own", "x")
    world.git(bare, "branch", "-D", "topic")
    refused = must(world.pool(*words, at=mine), 1)
    assert "topic follows origin/topic, which is gone" in refused.stderr
    assert world.head(mine) == own


def test_a_checkout_that_fails_midway_is_taken_back(
    world: GitWorld, bare: Path, mine: Path
) -> None:
    (mine / ".git" / "info" / "exclude").write_text("zz\n")
    (mine / "zz").write_text("mine")
    before = world.head(mine)
    world.publish(bare, "README", "theirs\n")
    world.publish(bare, "a/new", "x")
    world.publish(bare, "zz", "theirs")
    world.publish(bare, ".gitattributes", "m.bin filter=large\n")
    world.publish(bare, "m.bin", "x")
    for setting, value in (("smudge", "false"), ("clean", "false"), ("required", "true")):
        world.git(mine, "config", f"filter.large.{setting}", value)
    for _ in range(2):
        refused = must(world.pool("pull", at=mine), 1)
        assert "smudge filter large failed" in refused.stderr
        assert (world.head(mine), states(world, mine)) == (before, "")
        assert sorted(it.name for it in mine.iterdir()) == [".git", "README", "zz"]
        assert (mine / "zz").read_text() == "mine"
    world.git(mine, "config", "--remove-section", "filter.large")
    must(world.pool("pull", at=mine))


@pytest.mark.parametrize(
    "words", [["sync", "--force"], ["submodules", "reset", "--name", ENGINE, "--force"]]
)
def test_an_untracked_file_of_a_submodule_is_never_overwritten(
    world: GitWorld, bare: Path, words: list[str]
) -> None:
    inner = world.remote("inner")
    world.add_submodule(bare, inner, ENGINE)
    mine = world.clone(bare)
    world.publish(inner, "note", "theirs")
    world.record_newest(bare, ENGINE)
    (mine / ENGINE / "note").write_text("mine")
    (mine / ENGINE / "README").write_text("changed\n")
    world.git(mine, "pull", "--quiet", "--recurse-submodules=no")
    refused = must(world.pool(*words, at=mine), 1)
    assert f"these files in {ENGINE} would be overwritten: note" in refused.stderr
    assert (mine / ENGINE / "note").read_text() == "mine"
    (mine / ENGINE / "note").unlink()
    must(world.pool(*words, at=mine))
    assert (mine / ENGINE / "note").read_text() == "theirs"
    assert (mine / ENGINE / "README").read_text() == "inner\n"


def test_an_ignored_file_where_a_folder_will_be_is_shown(
    world: GitWorld, bare: Path, mine: Path
) -> None:
    world.commit(mine, "tracked", "x")
    world.git(mine, "push", "--quiet")
    (mine / ".git" / "info" / "exclude").write_text("build\n")
    (mine / "build").write_text("mine")
    somebody = world.folder / "somebody-suite"
    world.git(somebody, "pull", "--quiet")
    (somebody / "tracked").unlink()
    world.publish(bare, "tracked/x", "theirs")
    world.publish(bare, "build/x", "theirs")
    assert lost(world, mine)["overwritten"] == ["build"]


def test_a_name_that_no_disk_takes_is_an_error_and_no_crash(
    world: GitWorld, bare: Path, mine: Path
) -> None:
    before = world.head(mine)
    somebody = world.folder / "somebody-suite"
    entry = f"100644,{world.git(mine, 'rev-parse', 'HEAD:README')},{'n' * 300}"
    world.git(somebody, "update-index", "--add", "--cacheinfo", entry)
    world.git(somebody, "commit", "--quiet", "--message", "long")
    world.git(somebody, "push", "--quiet", "origin", "main")
    must(world.pool("sync", "--dry-run", at=mine))
    for words in (["pull"], ["sync", "--force"]):
        assert "too long" in must(world.pool(*words, at=mine), 1).stderr
    assert world.head(mine) == before


@pytest.mark.parametrize("way", ["--assume-unchanged", "--skip-worktree"])
def test_changes_that_git_was_told_to_overlook_are_not_lost(
    world: GitWorld, bare: Path, mine: Path, way: str
) -> None:
    world.git(mine, "update-index", way, "README")
    (mine / "README").write_text("mine\n")
    world.publish(bare, "README", "theirs\n")
    refused = must(world.pool("sync", "--force", at=mine), 1)
    assert "git update-index --no-assume-unchanged --no-skip-worktree -- README" in refused.stderr
    assert (mine / "README").read_text() == "mine\n"


def test_a_broken_gitmodules_can_be_pulled_and_synced_away(
    world: GitWorld, bare: Path, mine: Path
) -> None:
    world.add_submodule(bare, world.remote("inner"), ENGINE)
    good = (world.folder / "somebody-suite" / ".gitmodules").read_text()
    world.publish(bare, ".gitmodules", "[[[\n")
    for words in (["pull"], ["sync", "--force"], ["submodules", "list"]):
        assert "bad config line 1" in must(world.pool(*words, at=mine), 1).stderr
    mended = world.publish(bare, ".gitmodules", good)
    must(world.pool("pull", at=mine))
    assert world.head(mine) == mended
    assert (mine / ENGINE / "README").exists()


def test_a_link_in_the_place_of_a_submodule_leads_nowhere(world: GitWorld, bare: Path) -> None:
    world.add_submodule(bare, world.remote("inner"), ENGINE)
    mine = world.clone(bare)
    (mine / ENGINE / "README").unlink()
    (mine / ENGINE / ".git").unlink()
    (mine / ENGINE).rmdir()
    (mine / ENGINE).symlink_to(".")
    (row,) = json.loads(
        must(world.pool("submodules", "status", "--format", "json", at=mine)).stdout
    )
    assert row["state"] == "not initialised"
    words = ("submodules", "branch", "--name", ENGINE, "--branch", "topic")
    world.git(mine, "branch", "topic")
    assert "is not initialised" in must(world.pool(*words, at=mine), 1).stderr
    assert world.git(mine, "branch", "--show-current") == "main"
