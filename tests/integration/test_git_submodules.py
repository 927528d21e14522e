"""llorch-pool git on real submodules: where they stand, and what moves them."""

import json
from pathlib import Path

import pytest

from orchestrator_core.errors import LlorchError
from pool_ctl.git.checkout import open_checkout
from support.git_repos import GitWorld, must

ENGINE = "reference/engine"


@pytest.fixture
def world(tmp_path: Path) -> GitWorld:
    return GitWorld(tmp_path)


@pytest.fixture
def inner(world: GitWorld) -> Path:
    return world.remote("engine")


@pytest.fixture
def bare(world: GitWorld, inner: Path) -> Path:
    bare = world.remote("suite")
    world.add_submodule(bare, inner, ENGINE)
    return bare


@pytest.fixture
def mine(world: GitWorld, bare: Path) -> Path:
    return world.clone(bare)


def look(world: GitWorld, mine: Path) -> dict[str, object]:
    answer = must(world.pool("submodules", "status", "--format", "json", at=mine))
    (row,) = json.loads(answer.stdout)
    return row


def test_list_and_status_tell_what_is_recorded_and_what_is_there(
    world: GitWorld, inner: Path, mine: Path
) -> None:
    (listed,) = json.loads(
        must(world.pool("submodules", "list", "--format", "json", at=mine)).stdout
    )
    assert listed == {
        "name": ENGINE,
        "path": ENGINE,
        "recorded": world.head(mine / ENGINE),
        "follows": None,
        "url": str(inner),
    }
    assert look(world, mine)["state"] == "current"
    (mine / ENGINE / "README").write_text("changed\n")
    (mine / ENGINE / "new").write_text("x")
    world.git(mine / ENGINE, "commit", "--quiet", "--allow-empty", "--message", "x")
    now = look(world, mine)
    assert [now[key] for key in ("state", "changes", "untracked", "branch")] == [
        "moved", 1, 1, None,
    ]  # fmt: skip


def test_a_submodule_that_is_not_there_is_said_and_fetched(
    world: GitWorld, bare: Path, inner: Path
) -> None:
    plain = world.folder / "plain"
    world.git(world.folder, "clone", "--quiet", str(bare), str(plain))
    assert look(world, plain)["state"] == "not initialised"
    refused = must(world.pool("submodules", "branch", "--name", "engine", at=plain), 1)
    assert "llorch-pool git submodules update --name" in refused.stderr
    newest = world.publish(inner, "x", "1")
    must(world.pool("submodules", "update", "--name", "engine", at=plain))
    assert world.head(plain / ENGINE) == newest
    assert look(world, plain)["state"] == "moved"


def test_pull_brings_the_submodules_along(
    world: GitWorld, bare: Path, inner: Path, mine: Path
) -> None:
    world.publish(inner, "x", "1")
    newest = world.record_newest(bare, ENGINE)
    other = world.remote("other")
    world.add_submodule(bare, other, "reference/other")
    must(world.pool("pull", at=mine))
    assert world.head(mine / ENGINE) == newest
    assert (mine / "reference" / "other" / "README").read_text() == "other\n"


def test_pull_fails_aloud_when_a_submodule_holds_changes(
    world: GitWorld, bare: Path, inner: Path, mine: Path
) -> None:
    world.publish(inner, "README", "theirs\n")
    world.record_newest(bare, ENGINE)
    (mine / ENGINE / "README").write_text("mine\n")
    refused = must(world.pool("pull", at=mine), 1)
    assert f"these files in {ENGINE} would be overwritten: README" in refused.stderr
    assert (mine / ENGINE / "README").read_text() == "mine\n"
    must(world.pool("sync", "--force", at=mine))
    assert (mine / ENGINE / "README").read_text() == "theirs\n"


def test_pull_does_not_leave_commits_behind_that_are_on_no_branch(
    world: GitWorld, bare: Path, inner: Path, mine: Path
) -> None:
    own = world.commit(mine / ENGINE, "own", "x")
    refused = must(world.pool("pull", at=mine), 1)
    assert "1 commit is on no branch" in refused.stderr
    assert world.head(mine / ENGINE) == own
    world.git(mine / ENGINE, "switch", "--quiet", "--create", "kept")
    must(world.pool("pull", at=mine))
    assert world.head(mine / ENGINE) != own


def test_a_commit_that_was_never_pushed_is_named(world: GitWorld, bare: Path, mine: Path) -> None:
    somebody = world.folder / "somebody-suite"
    world.commit(somebody / ENGINE, "unpushed", "x")
    world.git(somebody, "commit", "--quiet", "--all", "--message", "Bump")
    world.git(somebody, "push", "--quiet", "--recurse-submodules=no", "origin", "main")
    refused = must(world.pool("pull", at=mine), 1)
    assert "never pushed to the submodule's remote" in refused.stderr
    assert refused.stderr.endswith("(GIT_FAILED)\n")


def test_branch_shows_the_branches_and_checks_one_out(
    world: GitWorld, inner: Path, mine: Path
) -> None:
    topic = world.publish(inner, "topic", "x", branch="metal-fixes")
    must(world.pool("submodules", "branch", "--name", "engine", "--branch", "metal-fixes", at=mine))
    assert world.head(mine / ENGINE) == topic
    assert look(world, mine)["branch"] == "metal-fixes"
    listed = must(
        world.pool("submodules", "branch", "--name", "engine", "--format", "json", at=mine)
    )
    current = [row for row in json.loads(listed.stdout) if row["current"]]
    assert [(row["name"], row["upstream"]) for row in current] == [
        ("metal-fixes", "origin/metal-fixes")
    ]
    newer = world.publish(inner, "topic", "y", branch="metal-fixes")
    must(world.pool("submodules", "update", "--name", "engine", at=mine))
    assert world.head(mine / ENGINE) == newer
    assert look(world, mine)["branch"] == "metal-fixes"


def test_update_all_takes_the_newest_of_every_remote_and_tells_each_failure(
    world: GitWorld, bare: Path, inner: Path, mine: Path
) -> None:
    other = world.remote("other")
    world.add_submodule(bare, other, "reference/other")
    must(world.pool("pull", at=mine))
    world.publish(inner, "README", "theirs\n")
    newest = world.publish(other, "x", "1")
    (mine / ENGINE / "README").write_text("mine\n")
    refused = must(world.pool("submodules", "update", "--all", "--format", "json", at=mine), 1)
    assert [row["after"] for row in json.loads(refused.stdout)] == [newest]
    assert "submodule reference/engine: 1 file has changes" in refused.stderr
    assert (mine / ENGINE / "README").read_text() == "mine\n"


def test_update_refuses_branches_that_have_both_gone_on(
    world: GitWorld, inner: Path, mine: Path
) -> None:
    world.git(mine / ENGINE, "switch", "--quiet", "main")
    own = world.commit(mine / ENGINE, "own", "x")
    world.publish(inner, "theirs", "x")
    refused = must(world.pool("submodules", "update", "--name", ENGINE, at=mine), 1)
    assert "main and origin/main have both gone on" in refused.stderr
    assert world.head(mine / ENGINE) == own


def test_reset_goes_back_to_what_is_recorded_without_the_changes(
    world: GitWorld, mine: Path
) -> None:
    recorded = world.head(mine / ENGINE)
    world.commit(mine / ENGINE, "own", "x")
    (mine / ENGINE / "README").write_text("changed\n")
    (mine / ENGINE / "stays").write_text("x")
    words = ("submodules", "reset", "--name", "engine")
    assert "take --force" in must(world.pool(*words, at=mine), 2).stderr
    looked = must(world.pool(*words, "--dry-run", at=mine)).stderr
    assert "changes in 1 file: README" in looked
    assert "1 commit on no branch" in looked
    assert world.head(mine / ENGINE) != recorded
    must(world.pool(*words, "--force", at=mine))
    assert world.head(mine / ENGINE) == recorded
    assert (mine / ENGINE / "README").read_text() == "engine\n"
    assert (mine / ENGINE / "stays").exists()


def test_sync_shows_what_submodules_lose(world: GitWorld, mine: Path) -> None:
    world.commit(mine / ENGINE, "own", "x")
    (mine / ENGINE / "README").write_text("changed\n")
    answer = must(world.pool("sync", "--dry-run", "--format", "json", at=mine))
    assert json.loads(answer.stdout)["lost"]["submodules"] == [
        "submodule reference/engine: changes in 1 file: README",
        "submodule reference/engine: 1 commit on no branch",
    ]


def test_submodules_in_submodules_are_brought_along(
    world: GitWorld, bare: Path, inner: Path, mine: Path
) -> None:
    deep = world.remote("deep")
    world.add_submodule(inner, deep, "deep")
    world.record_newest(bare, ENGINE)
    must(world.pool("pull", at=mine))
    assert (mine / ENGINE / "deep" / "README").read_text() == "deep\n"
    (mine / ENGINE / "deep" / "README").write_text("changed\n")
    lost = json.loads(must(world.pool("sync", "--dry-run", "--format", "json", at=mine)).stdout)[
        "lost"
    ]
    assert lost["submodules"] == ["submodule reference/engine: changes in 1 file: deep"]
    must(world.pool("sync", "--force", at=mine))
    assert (mine / ENGINE / "deep" / "README").read_text() == "deep\n"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["update", "--name", "nothing"], 3, "there is no submodule nothing; known are"),
        (["reset", "--name", "nothing", "--force"], 3, "there is no submodule nothing"),
        (["branch", "--name", "engine", "--branch", "nope"], 3, "there is no branch nope"),
        (["branch", "--name", "engine", "--branch", "-x"], 1, "it begins with -"),
        (["branch", "--name", "engine", "--branch", "a..b"], 1, "git allows no such name"),
        (["branch", "--name", "engine", "--branch", "@{-1}"], 1, "git allows no such name"),
        (["update"], 2, "either --all or --name"),
        (["update", "--all", "--name", "engine"], 2, "either --all or --name"),
    ],
    ids=lambda it: " ".join(it) if isinstance(it, list) else "",
)
def test_what_is_not_there_is_said_with_its_exit_code(
    world: GitWorld, mine: Path, words: list[str], code: int, said: str
) -> None:
    assert said in must(world.pool("submodules", *words, at=mine), code).stderr


def test_a_submodule_that_gitmodules_does_not_know_is_shown(world: GitWorld, mine: Path) -> None:
    world.git(mine, "rm", "--quiet", "--cached", ".gitmodules")
    (mine / ".gitmodules").unlink()
    assert look(world, mine)["state"] == "not in .gitmodules"
    refused = must(world.pool("submodules", "update", "--all", at=mine), 1)
    assert "add its path and url there" in refused.stderr


def test_a_submodule_whose_git_folder_is_lost_is_named_as_broken(
    world: GitWorld, mine: Path
) -> None:
    (mine / ENGINE / ".git").write_text("gitdir: ../../nowhere\n")
    now = look(world, mine)
    assert now["state"] == "broken"
    assert "not a git repository" in str(now["fault"])
    assert "reference/engine" in must(world.pool("status", at=mine), 1).stderr


def test_a_submodule_whose_git_folder_is_lost_comes_back_as_it_is_advised(
    world: GitWorld, mine: Path
) -> None:
    (mine / ".git" / "modules").rename(world.folder / "lost")
    refused = must(world.pool("pull", at=mine), 1)
    assert "move the one that points to it away, then pull again" in refused.stderr
    (mine / ENGINE).rename(world.folder / "away")
    must(world.pool("pull", at=mine))
    assert look(world, mine)["state"] == "current"


@pytest.mark.parametrize(
    "words",
    [
        ["sync", "--force"],
        ["submodules", "reset", "--name", "engine", "--force"],
        ["submodules", "update", "--all"],
        ["submodules", "branch", "--name", "engine", "--branch", "main"],
    ],
    ids=" ".join,
)
def test_a_rebase_inside_a_submodule_is_left_to_the_user(
    world: GitWorld, mine: Path, words: list[str]
) -> None:
    world.commit(mine / ENGINE, "own", "x")
    world.git(mine / ENGINE, "rebase", "--quiet", "--exec", "false", "HEAD~1", code=1)
    head = world.head(mine / ENGINE)
    refused = must(world.pool(*words, at=mine), 1)
    assert f"submodule {ENGINE}: a git rebase is under way" in refused.stderr
    assert world.head(mine / ENGINE) == head


def test_an_empty_git_folder_does_not_lead_to_the_checkout_around_it(
    world: GitWorld, mine: Path
) -> None:
    (mine / ENGINE / ".git").unlink()
    (mine / ENGINE / ".git").mkdir()
    (mine / "README").write_text("changed\n")
    assert look(world, mine)["state"] == "broken"
    checkout = open_checkout(mine, world.env, is_named=True)
    with pytest.raises(LlorchError, match="not a git repository"):
        checkout.inner(checkout.submodule("engine"))
    must(world.pool("submodules", "branch", "--name", "engine", "--branch", "main", at=mine), 1)
    assert (mine / "README").read_text() == "changed\n"


def test_no_other_branch_is_checked_out_over_changes(
    world: GitWorld, inner: Path, mine: Path
) -> None:
    world.publish(inner, "topic", "x", branch="topic")
    words = ("submodules", "branch", "--name", "engine", "--branch", "topic")
    (mine / ENGINE / "README").write_text("changed\n")
    assert "git stash them in" in must(world.pool(*words, at=mine), 1).stderr
    world.git(mine / ENGINE, "checkout", "--quiet", "--", "README")
    own = world.commit(mine / ENGINE, "own", "x")
    assert "1 commit is on no branch" in must(world.pool(*words, at=mine), 1).stderr
    assert world.head(mine / ENGINE) == own
