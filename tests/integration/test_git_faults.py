"""llorch-pool git where it cannot work: one clear line, the right exit code, nothing changed."""

import os
import socket
from pathlib import Path

import pytest

from orchestrator_core.config.layout import Layout
from orchestrator_core.errors import LlorchError
from pool_ctl.commands.git.options import open_meant
from pool_ctl.settings import CliSettings
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


def program(world: GitWorld, name: str, text: str) -> None:
    """Put a program of ours before git's own helpers."""
    folder = world.folder / "programs"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o700)
    world.env["PATH"] = f"{folder}:{os.environ['PATH']}"


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def one_line(text: str) -> str:
    lines = [line for line in text.splitlines() if not line.startswith("fetching")]
    assert len(lines) == 1, text
    return lines[0]


@pytest.mark.parametrize("words", [["pull"], ["sync", "--force"], ["sync", "--dry-run"]])
def test_a_remote_that_is_away_ends_with_5(world: GitWorld, mine: Path, words: list[str]) -> None:
    before = world.head(mine)
    for url in (f"http://127.0.0.1:{closed_port()}/x.git", f"git://127.0.0.1:{closed_port()}/x"):
        world.git(mine, "remote", "set-url", "origin", url)
        failed = must(world.pool(*words, at=mine), 5)
        assert one_line(failed.stderr).endswith("(UNREACHABLE)")
    world.git(mine, "remote", "set-url", "origin", str(world.folder / "gone.git"))
    must(world.pool(*words, at=mine), 5)
    assert world.head(mine) == before


def test_a_remote_that_lets_nobody_in_ends_with_4_and_asks_nobody(
    world: GitWorld, mine: Path
) -> None:
    program(world, "ssh", 'echo "$@" > "$HOME/asked"; echo "git@host: Permission denied (publickey)." >&2; exit 255')  # fmt: skip
    world.git(mine, "remote", "set-url", "origin", "ssh://git@host.example/x.git")
    failed = must(world.pool("pull", at=mine), 4)
    assert "Permission denied (publickey)" in failed.stderr
    assert "BatchMode=yes" in (world.folder / "asked").read_text()


def test_the_users_own_ssh_command_is_taken(world: GitWorld, mine: Path) -> None:
    program(world, "ssh", 'echo "Host key verification failed." >&2; exit 255')
    program(world, "my-ssh", 'echo mine > "$HOME/asked"; exec ssh')
    world.git(mine, "config", "core.sshCommand", "my-ssh")
    world.git(mine, "remote", "set-url", "origin", "ssh://git@host.example/x.git")
    assert "accept its key" in must(world.pool("pull", at=mine), 4).stderr
    assert (world.folder / "asked").read_text() == "mine\n"


@pytest.mark.parametrize("allowed", [None, "ext:file", "ext"])
def test_a_remote_that_is_a_command_is_never_run(
    world: GitWorld, mine: Path, allowed: str | None
) -> None:
    trace = world.folder / "trace"
    world.git(mine, "config", "protocol.ext.allow", "always")
    world.git(mine, "remote", "set-url", "origin", f"ext::sh -c touch% {trace}")
    env = {"GIT_ALLOW_PROTOCOL": allowed} if allowed else {}
    failed = must(world.pool("pull", at=mine, **env), 1)
    assert "is never used" in failed.stderr
    assert not trace.exists()


def test_local_paths_as_submodules_are_not_allowed_by_us(world: GitWorld, bare: Path) -> None:
    world.add_submodule(bare, world.remote("engine"), "engine")
    plain = world.folder / "plain"
    world.git(world.folder, "clone", "--quiet", str(bare), str(plain))
    strict = world.folder / "strict"
    strict.write_text("[user]\n    name = Ada\n    email = ada@localhost\n")
    failed = must(world.pool("pull", at=plain, GIT_CONFIG_GLOBAL=str(strict)), 1)
    assert "git does not allow the transport file here" in failed.stderr


@pytest.mark.parametrize("words", [["pull"], ["sync", "--force"]])
def test_a_lock_that_was_left_is_named(
    world: GitWorld, bare: Path, mine: Path, words: list[str]
) -> None:
    world.publish(bare, "x", "1")
    lock = mine / ".git" / "index.lock"
    lock.touch()
    failed = must(world.pool(*words, at=mine), 1)
    assert f"{lock} is there: another git may be at work" in failed.stderr
    must(world.pool("status", at=mine))
    lock.unlink()
    must(world.pool(*words, at=mine))


def test_a_checkout_of_somebody_else_is_refused_in_gits_words(world: GitWorld, mine: Path) -> None:
    # Git's own switch for its tests, which needs no second user.
    failed = must(world.pool("status", at=mine, GIT_TEST_ASSUME_DIFFERENT_OWNER="1"), 1)
    assert "dubious ownership" in one_line(failed.stderr)
    assert f"git config --global --add safe.directory {mine}" in failed.stderr


def test_a_folder_without_a_checkout_is_said(world: GitWorld, bare: Path, mine: Path) -> None:
    empty = world.folder / "empty"
    empty.mkdir()
    for words in (["status"], ["pull"], ["clean", "--force"], ["submodules", "list"]):
        failed = must(world.pool(*words, at=empty), 1)
        assert "is in no git checkout: --repo PATH" in one_line(failed.stderr)
    gone = must(world.pool("status", "--repo", str(empty / "gone")), 1)
    assert "is not a folder" in gone.stderr
    assert "is a bare repository" in must(world.pool("status", "--repo", str(bare)), 1).stderr
    assert "work tree" in must(world.pool("status", at=mine / ".git"), 1).stderr


def test_a_named_folder_must_be_the_checkout_itself(world: GitWorld, mine: Path) -> None:
    inside = mine / "models"
    inside.mkdir()
    failed = must(world.pool("sync", "--force", "--repo", str(inside)), 1)
    assert f"is not a checkout but a part of {mine}" in failed.stderr
    must(world.pool("status", at=inside))


def test_option_variable_settings_and_folder_name_the_checkout_in_this_order(
    world: GitWorld, bare: Path
) -> None:
    names = ("by-option", "by-variable", "by-file", "by-folder")
    option, variable, file, folder = (world.clone(bare, name) for name in names)
    config = world.folder / "llorch" / "config"
    config.mkdir(parents=True)

    def shown(*words: str, **env: str) -> str:
        answer = must(world.pool("status", *words, at=folder, **env))
        return answer.stdout.splitlines()[0].rpartition("/")[2]

    assert shown() == "by-folder"
    (config / "pool.toml").write_text(f'git_repo = "{file}"\n')
    assert shown() == "by-file"
    assert shown(LLORCH_POOL_GIT_REPO=str(variable)) == "by-variable"
    assert shown("--repo", str(option), LLORCH_POOL_GIT_REPO=str(variable)) == "by-option"


def test_a_folder_that_only_looks_like_gits_own_runs_nothing(
    world: GitWorld, bare: Path, mine: Path
) -> None:
    trace = world.folder / "trace"
    evil = mine / "evil"
    (evil / "objects").mkdir(parents=True)
    (evil / "refs").mkdir()
    (evil / "HEAD").write_text("ref: refs/heads/main\n")
    (evil / ".gitattributes").write_text("* filter=x\n")
    (evil / "config").write_text(
        "[core]\nrepositoryformatversion=0\nbare=false\nworktree=.\n"
        f'sshCommand="touch {trace};false"\n[filter "x"]\nclean="touch {trace};cat"\n'
        '[remote "origin"]\nurl=ssh://host.example/x\nfetch=+refs/heads/*:refs/remotes/origin/*\n'
    )
    for words in (["status"], ["sync", "--force"], ["pull"], ["clean", "--dry-run"]):
        failed = must(world.pool(*words, at=evil), 1)
        assert "is git's own kind of folder" in one_line(failed.stderr)
        must(world.pool(*words, "--repo", str(evil)), 1)
    assert not trace.exists()


def test_a_name_of_a_folder_that_leads_nowhere_is_said(world: GitWorld, mine: Path) -> None:
    unknown = must(world.pool("status", "--repo", "~nobody-of-that-name/x", at=mine), 1)
    assert "a user who is not known here" in one_line(unknown.stderr)
    empty = must(world.pool("sync", "--force", "--repo", "", at=mine), 2)
    assert "it is empty" in empty.stderr


def test_a_folder_that_was_removed_is_said(
    world: GitWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = world.folder / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(LlorchError, match="this folder is not there any more"):
        open_meant(CliSettings(world.env, Layout.from_env(world.env)), None)


def test_a_commit_that_is_lost_is_not_taken_for_a_new_checkout(world: GitWorld, mine: Path) -> None:
    assert must(world.pool("log", at=mine)).stdout
    (mine / ".git" / "refs" / "heads" / "main").write_text(f"{'1' * 40}\n")
    assert "bad object" in must(world.pool("log", at=mine), 1).stderr


def test_variables_that_point_elsewhere_do_not_mislead(
    world: GitWorld, bare: Path, mine: Path
) -> None:
    other = world.clone(bare, "other")
    head = world.commit(other, "x", "1")
    env = {"GIT_DIR": str(other / ".git"), "GIT_WORK_TREE": str(other)}
    must(world.pool("sync", "--force", at=mine, **env))
    assert world.head(other) == head


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("echo git version 2.29.3", "git version 2.29.3 is too old: 2.30 is the least"),
        ("echo 'xcode-select: note: no developer tools' >&2; exit 1", "no developer tools"),
    ],
)
def test_a_git_that_does_not_serve_is_said(
    world: GitWorld, mine: Path, text: str, said: str
) -> None:
    program(world, "git", text)
    assert said in one_line(must(world.pool("status", at=mine), 1).stderr)


def test_a_missing_git_is_said(world: GitWorld, mine: Path) -> None:
    failed = must(world.pool("status", at=mine, PATH=str(world.folder)), 1)
    assert "git cannot be started" in one_line(failed.stderr)


def test_the_users_own_hooks_run_and_their_no_counts(
    world: GitWorld, bare: Path, mine: Path
) -> None:
    world.publish(bare, "theirs", "x")
    own = world.commit(mine, "own", "x")
    hook = mine / ".git" / "hooks" / "pre-rebase"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho not on a Friday >&2\nexit 1\n")
    hook.chmod(0o700)
    failed = must(world.pool("pull", at=mine), 1)
    assert "git rebase ended with" in failed.stderr
    assert world.head(mine) == own
