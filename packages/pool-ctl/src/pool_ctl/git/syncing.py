"""Makes a checkout what its remote has: looks what that would throw away, and then does it."""

import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from orchestrator_core.errors import Code, LlorchError, Refusal, error_for
from pool_ctl.git.checkout import Checkout
from pool_ctl.git.gitmodules import Gitlink, Recorded
from pool_ctl.git.plain import bytes_of, one_line, text_of
from pool_ctl.git.porcelain import Tree
from pool_ctl.git.pulling import bring_submodules
from pool_ctl.git.rules import Losses, list_paths, refuse_sync

__all__ = ["SyncPlan", "drop_changes", "module_losses", "plan_sync", "sync"]

_COMMITS_SHOWN: Final = 20
_ORIGIN: Final = "origin"
_REMOTES: Final = "refs/remotes/"
_SYMREF: Final = re.compile(r"ref: refs/heads/(.+)\tHEAD")


@dataclass(frozen=True, slots=True)
class SyncPlan:
    """Where a sync leads, and what it costs."""

    branch: str | None
    target: str
    before: str | None
    after: str
    incoming: int
    losses: Losses

    @property
    def is_there(self) -> bool:
        """Tell whether nothing would change in this checkout."""
        return self.before == self.after and self.losses.is_empty


def plan_sync(checkout: Checkout, say: Callable[[str], None]) -> SyncPlan:
    """Fetch from every remote and compare; nothing that is checked out changes."""
    _refuse_half_done(checkout)
    say("fetching from every remote")
    checkout.git.transfer("fetch", "--all", "--progress", "--no-recurse-submodules")
    tree = checkout.tree()
    target = _target(checkout, tree)
    after = checkout.commit_of(target)
    if after is None:
        text = f"{one_line(target.removeprefix(_REMOTES))} is gone: set another upstream"
        raise error_for(Refusal(Code.CONFLICT, text))
    return SyncPlan(
        branch=tree.branch,
        target=target.removeprefix(_REMOTES),
        before=tree.commit,
        after=after,
        incoming=checkout.count(after, *([f"^{tree.commit}"] if tree.commit else [])),
        losses=_losses(checkout, tree, after),
    )


def _refuse_half_done(checkout: Checkout) -> None:
    refusals = [refuse_sync(checkout.operation())]
    for link in checkout.links():
        found = _readable(checkout, link)
        refusals.append(refuse_sync(found[0].operation(), link.path) if found else None)
    for refusal in refusals:
        if refusal is not None:
            raise error_for(refusal)


def sync(checkout: Checkout, plan: SyncPlan, say: Callable[[str], None]) -> int:
    """Do what was planned; tells how many submodules were brought along."""
    if not plan.is_there:
        say(f"resetting to {one_line(plan.target)}")
        checkout.git.act("reset", "--hard", plan.after)
    for link in checkout.links():
        found = _readable(checkout, link)
        if found is not None:
            drop_changes(found[0])
    return bring_submodules(checkout, say)


def drop_changes(inner: Checkout) -> None:
    """Drop the changes to a submodule's files and to those of the ones in it.

    A forced update would do that too, and overwrite untracked files besides without a word.
    """
    inner.git.act("reset", "--hard", "--quiet")
    if inner.links():
        words = ("submodule", "--quiet", "foreach", "--recursive", "git reset --hard --quiet")
        inner.git.act(*words)


def module_losses(checkout: Checkout, module: Recorded | Gitlink) -> list[str]:
    """Say what a submodule would lose if it went back to the commit that is recorded for it."""
    name = one_line(module.path)
    found = _readable(checkout, module)
    if found is None:
        return []
    inner, tree = found
    unpublished = inner.unpublished() if tree.commit else 0
    lines: list[str] = []
    changed = [change.path for change in tree.changes if change.path not in tree.untracked]
    if changed:
        files = "1 file" if len(changed) == 1 else f"{len(changed)} files"
        lines.append(f"submodule {name}: changes in {files}: {list_paths(changed)}")
    if unpublished:
        which = "1 commit" if unpublished == 1 else f"{unpublished} commits"
        lines.append(f"submodule {name}: {which} on no branch")
    return lines


def _readable(checkout: Checkout, module: Recorded | Gitlink) -> tuple[Checkout, Tree] | None:
    """The checkout of a submodule; none of a broken one: the update says what is wrong there."""
    try:
        inner = checkout.inner(module)
        return (inner, inner.tree()) if inner else None
    except LlorchError:
        return None


def _target(checkout: Checkout, tree: Tree) -> str:
    """The full name of the branch's upstream, else of the default branch of origin."""
    if tree.branch is not None:
        branch = checkout.branch(tree)
        if branch is not None and branch.upstream is not None:
            # What is left here of a branch that is gone is not what the remote has.
            checkout.fetch_followed(branch)
        full = branch.upstream if branch else _upstream_setting(checkout, tree.branch)
        if full is not None:
            return full
    remotes = sorted(checkout.remotes())
    remote = _ORIGIN if _ORIGIN in remotes or len(remotes) != 1 else remotes[0]
    if remote not in remotes:
        text = (
            f"there is nothing to sync to: {_named(remotes)}; git remote add origin URL makes one"
        )
        raise error_for(Refusal(Code.CONFLICT, text))
    return _default_branch(checkout, remote)


def _upstream_setting(checkout: Checkout, branch: str) -> str | None:
    """The upstream of a branch that has no commit yet, of which git says nothing else."""
    remote = checkout.git.line("config", "--get", f"branch.{branch}.remote")
    merge = checkout.git.line("config", "--get", f"branch.{branch}.merge")
    if remote is None or merge is None or not merge.startswith("refs/heads/"):
        return None
    full = f"{_REMOTES}{remote}/{merge.removeprefix('refs/heads/')}"
    return full if checkout.commit_of(full) else None


def _default_branch(checkout: Checkout, remote: str) -> str:
    full = checkout.git.line("symbolic-ref", "--quiet", f"{_REMOTES}{remote}/HEAD")
    if full is not None and checkout.commit_of(full) is not None:
        return full
    answer = text_of(checkout.git.ask("ls-remote", "--symref", "--", remote, "HEAD"))
    found = _SYMREF.match(answer)
    if found is None:
        text = f"{one_line(remote)} has no default branch: check a branch out that follows one"
        raise error_for(Refusal(Code.CONFLICT, text))
    return f"{_REMOTES}{remote}/{found[1]}"


def _losses(checkout: Checkout, tree: Tree, after: str) -> Losses:
    commits_total = checkout.count(f"{after}..HEAD") if tree.commit else 0
    commits = checkout.commits(_COMMITS_SHOWN, f"{after}..HEAD") if commits_total else []
    submodules = [line for link in checkout.links() for line in module_losses(checkout, link)]
    return Losses(
        commits_total=commits_total,
        commits=tuple(f"{commit.short} {commit.subject}" for commit in commits),
        changes=tree.work,
        overwritten=_overwritten(checkout, tree, after),
        submodules=tuple(submodules),
    )


def _overwritten(checkout: Checkout, tree: Tree, after: str) -> tuple[str, ...]:
    """Files that git does not know and that the new commit has its own version of."""
    words = ("diff-index", "--cached", "--no-renames", "--diff-filter=D", "--name-only", "-z")
    if tree.commit is None:
        words = ("ls-tree", "-r", "--name-only", "-z")
    incoming = checkout.git.ask(*words, after, "--").split(b"\0")[:-1]
    tracked = set(checkout.git.ask("ls-files", "-z").split(b"\0"))
    top = bytes_of(str(checkout.top))
    lost = {it for path in incoming for it in _in_the_way(top, path) if it not in tracked}
    return tuple(text_of(path) for path in sorted(lost))


def _in_the_way(top: bytes, path: bytes) -> list[bytes]:
    """The path itself if it is there, and a file that stands where one of its folders will be."""
    if os.path.lexists(top + b"/" + path):
        return [path]
    above = [bytes_of(str(it)) for it in PurePosixPath(text_of(path)).parents if it.name]
    return [it for it in above if _is_no_folder(top + b"/" + it)]


def _is_no_folder(place: bytes) -> bool:
    try:
        return not stat.S_ISDIR(os.lstat(place).st_mode)
    except OSError:
        return False


def _named(remotes: list[str]) -> str:
    if not remotes:
        return "the checkout has no remote"
    return f"no branch is followed and none of the remotes {list_paths(remotes)} is origin"
