"""One checkout of the user, found by its folder: where it lies, how it stands, what it records."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from orchestrator_core.errors import Code, LlorchError, Refusal, error_for
from pool_ctl.git.gitmodules import (
    Gitlink,
    Recorded,
    Submodule,
    SubmoduleState,
    find_submodule,
    join,
    parse_gitlinks,
    parse_gitmodules,
)
from pool_ctl.git.history import (
    COMMIT_FORMAT,
    GRAPH_FORMAT,
    REF_FORMAT,
    Branch,
    Commit,
    parse_commits,
    parse_refs,
)
from pool_ctl.git.plain import hide_secrets, one_line, text_of
from pool_ctl.git.porcelain import STATUS_WORDS, Tree, parse_status
from pool_ctl.git.program import Git
from pool_ctl.git.rules import Operation, gone

__all__ = ["Checkout", "accepted", "open_checkout"]

T = TypeVar("T")

_NO_CHECKOUT: Final = "not a git repository"
# Files and folders in a checkout's own git folder that stand for something unfinished.
_SIGNS: Final = {
    "rebase-merge": Operation.REBASE,
    "rebase-apply/applying": Operation.APPLY,
    "rebase-apply": Operation.REBASE,
    "MERGE_HEAD": Operation.MERGE,
    "CHERRY_PICK_HEAD": Operation.PICK,
    "REVERT_HEAD": Operation.REVERT,
    "BISECT_LOG": Operation.BISECT,
}


def accepted(answer: "T | Refusal") -> T:
    """Take an answer, or end the command with the refusal that came instead."""
    if isinstance(answer, Refusal):
        raise error_for(answer)
    return answer


def open_checkout(
    folder: Path,
    env: Mapping[str, str],
    relay: Callable[[bytes], None] | None = None,
    *,
    is_named: bool,
) -> "Checkout":
    """Open the checkout of a folder; one that a person named must be its top, not a part of it.

    A folder without a checkout may lie in another one, like a home folder that is kept in git,
    and a reset of that is the last thing that was meant.
    """
    shown = one_line(str(folder))
    if not folder.is_dir():
        raise error_for(Refusal(Code.GIT_FAILED, f"{shown} is not a folder: name a git checkout"))
    git = Git(folder, env, relay)
    git.check_version()
    top, git_folder, is_shallow = _place(git, shown)
    if not (top / ".git").exists():
        # Somebody's commit may hold a folder that looks like git's own, with settings that run
        # programs; a real checkout has its entry at the top.
        text = f"{shown} is git's own kind of folder, not a checkout: name a checkout"
        raise error_for(Refusal(Code.GIT_FAILED, text))
    if is_named and not top.samefile(folder):
        text = f"{shown} is not a checkout but a part of {one_line(str(top))}: name that one"
        raise error_for(Refusal(Code.GIT_FAILED, text))
    return Checkout(Git(top, env, relay), top, git_folder, is_shallow=is_shallow)


def _place(git: Git, shown: str) -> tuple[Path, Path, bool]:
    try:
        kind = git.ask("rev-parse", "--is-bare-repository", "--is-shallow-repository")
        if kind.startswith(b"true"):
            text = f"{shown} is a bare repository: it has no files to work on; name a checkout"
            raise error_for(Refusal(Code.GIT_FAILED, text))
        top = text_of(git.ask("rev-parse", "--show-toplevel")).removesuffix("\n")
        git_folder = text_of(git.ask("rev-parse", "--absolute-git-dir")).removesuffix("\n")
    except LlorchError as error:
        if _NO_CHECKOUT not in error.refusal.message:
            raise
        text = f"{shown} is in no git checkout: --repo PATH or git_repo in pool.toml names one"
        raise error_for(Refusal(Code.GIT_FAILED, text)) from error
    return Path(top), Path(git_folder), kind.split()[-1] == b"true"


@dataclass(frozen=True, slots=True)
class Checkout:
    """A checkout and the questions to it; nothing here changes anything."""

    git: Git
    top: Path
    git_folder: Path
    is_shallow: bool = False

    def tree(self) -> Tree:
        """Branch, commit and everything that differs."""
        return accepted(parse_status(self.git.ask(*STATUS_WORDS)))

    def operation(self) -> Operation | None:
        """What git has begun here and not finished."""
        found = (it for sign, it in _SIGNS.items() if (self.git_folder / sign).exists())
        return next(found, None)

    def commits(self, count: int, *revisions: str) -> list[Commit]:
        """The newest commits of a revision, or of what is checked out."""
        words = ("log", "-z", "--no-color", "--no-show-signature", "--encoding=UTF-8")
        data = self.git.ask(*words, f"--max-count={count}", COMMIT_FORMAT, *revisions, "--")
        return accepted(parse_commits(data))

    def graph(self, count: int) -> list[str]:
        """The newest commits as lines that show how they hang together."""
        words = ("log", "--graph", "--no-color", "--no-show-signature", "--encoding=UTF-8")
        data = self.git.ask(*words, "--date=short", f"--max-count={count}", GRAPH_FORMAT, "--")
        return text_of(data).removesuffix("\n").split("\n")

    def branches(self, *patterns: str) -> list[Branch]:
        """Local branches and what was last seen of remote ones, or those of full names."""
        wanted = patterns or ("refs/heads", "refs/remotes")
        return accepted(parse_refs(self.git.ask("for-each-ref", REF_FORMAT, *wanted)))

    def branch(self, tree: Tree) -> Branch | None:
        """The branch that is checked out, unless it has no commit yet."""
        if tree.branch is None:
            return None
        full = f"refs/heads/{tree.branch}"
        return next((it for it in self.branches(full) if it.full_name == full), None)

    def remotes(self) -> dict[str, str]:
        """Names and URLs of the remotes, without the secrets that a URL may carry."""
        names = text_of(self.git.ask("remote")).splitlines()
        urls = {name: self.git.line("config", "--get", f"remote.{name}.url") for name in names}
        return {name: hide_secrets(url or "") for name, url in urls.items()}

    def commit_of(self, revision: str) -> str | None:
        """The commit that a full name stands for."""
        words = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        return self.git.line(*words)

    def count(self, *revisions: str) -> int:
        """How many commits a range has."""
        return int(self.git.ask("rev-list", "--count", *revisions, "--"))

    def fetch_followed(self, branch: Branch) -> str:
        """Fetch from the remote of a branch; gives the commit of its upstream, which must exist."""
        self.git.transfer("fetch", "--progress", "--no-recurse-submodules")
        target = self.commit_of(branch.upstream) if branch.upstream else None
        if target is None or not self._found_upstream():
            raise error_for(gone(branch))
        return target

    def _found_upstream(self) -> bool:
        """Tell whether the last fetch saw the upstream, and not only what is left of it here."""
        try:
            lines = (self.git_folder / "FETCH_HEAD").read_bytes().splitlines()
        except OSError:
            return True
        # An empty list tells nothing: on a full disk, git writes none and goes on.
        return not lines or any(b"\tnot-for-merge\t" not in line for line in lines)

    def links(self) -> list[Gitlink]:
        """The paths and commits of the submodules, whatever is in .gitmodules."""
        return accepted(parse_gitlinks(self.git.ask("ls-files", "--stage", "-z")))

    def recorded(self) -> list[Recorded]:
        """The submodules that this checkout records."""
        links = self.links()
        file = self.top / ".gitmodules"
        entries: dict[str, dict[str, str]] = {}
        # Git itself never follows a link here.
        if links and file.is_file() and not file.is_symlink():
            words = ("config", "-z", "--file", str(file), "--get-regexp", r"^submodule\.")
            ran = self.git.run(*words)
            if ran.code > 1:
                text = f"{one_line(str(file))} cannot be read: {one_line(ran.talk)}"
                raise error_for(Refusal(Code.GIT_FAILED, text))
            entries = accepted(parse_gitmodules(ran.out))
        return join(links, entries)

    def submodule(self, wanted: str) -> Recorded:
        """The submodule that a person means."""
        return accepted(find_submodule(self.recorded(), wanted))

    def inner(self, module: Recorded | Gitlink) -> "Checkout | None":
        """The checkout of a submodule; None while it is not initialised.

        A link on the way could lead to any other checkout, so that is none either.
        """
        folder = self.top.resolve() / module.path
        if not (folder / ".git").exists() or folder.resolve() != folder:
            return None
        git = self.git.inside(folder)
        inside = text_of(git.ask("rev-parse", "--absolute-git-dir")).removesuffix("\n")
        return Checkout(git, folder, Path(inside))

    def look_at(self, module: Recorded) -> Submodule:
        """How a submodule stands against what is recorded; a broken one says why."""
        if module.url is None:
            return Submodule(module, SubmoduleState.NOT_CONFIGURED)
        try:
            inner = self.inner(module)
            tree = inner.tree() if inner else None
        except LlorchError as error:
            return Submodule(module, SubmoduleState.BROKEN, fault=error.refusal.message)
        if tree is None:
            return Submodule(module, SubmoduleState.NOT_INITIALISED)
        return _judge(module, tree)

    def unpublished(self) -> int:
        """How many commits are checked out that no branch, tag or remote has."""
        return self.count("HEAD", "--not", "--branches", "--remotes", "--tags")


def _judge(module: Recorded, tree: Tree) -> Submodule:
    state = SubmoduleState.CURRENT if tree.commit == module.commit else SubmoduleState.MOVED
    return Submodule(
        module,
        SubmoduleState.CONFLICT if module.is_conflict else state,
        commit=tree.commit,
        branch=tree.branch,
        changes=len(tree.work),
        untracked=len(tree.untracked),
    )
