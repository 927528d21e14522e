"""Decides whether a checkout may be pulled, synced or moved, and says what helps. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from orchestrator_core.errors import Code, Refusal
from pool_ctl.git.history import Branch
from pool_ctl.git.plain import one_line, shell_word
from pool_ctl.git.porcelain import Change, Tree

__all__ = [
    "Losses",
    "Operation",
    "conflicted",
    "find_branch",
    "gone",
    "list_paths",
    "loss_lines",
    "refuse_pull",
    "refuse_switch",
    "refuse_sync",
]

_SHOWN: Final = 20
_NAMED: Final = 5


class Operation(StrEnum):
    """What git has begun in a checkout and not finished."""

    REBASE = "rebase"
    APPLY = "am"
    MERGE = "merge"
    PICK = "cherry-pick"
    REVERT = "revert"
    BISECT = "bisect"


# A hard reset ends these by itself; the others would go on half-done.
_ENDED_BY_RESET: Final = frozenset({Operation.MERGE, Operation.PICK, Operation.REVERT})


@dataclass(frozen=True, slots=True)
class Losses:
    """What a sync would throw away; commits are "id subject", the newest first."""

    commits_total: int = 0
    commits: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()
    overwritten: tuple[str, ...] = ()
    submodules: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Tell whether nothing at all would be lost."""
        return not (self.commits_total or self.changes or self.overwritten or self.submodules)


def refuse_pull(tree: Tree, operation: Operation | None, upstream: Branch | None) -> Refusal | None:
    """Refuse a pull that could not end well; the branch is None where there is none yet."""
    text = _unfinished(operation) if operation else None
    if text is None and tree.branch is None:
        text = "no branch is checked out: git switch BRANCH first, or llorch-pool git sync"
    elif text is None and (tree.commit is None or upstream is None):
        text = f"{one_line(tree.branch or '')} has no commit yet: llorch-pool git sync fetches one"
    elif text is None and upstream is not None:
        text = _not_followed(upstream) or _dirty(tree.work, "git commit or git stash them first")
    return Refusal(Code.CONFLICT, text) if text else None


def refuse_sync(operation: Operation | None, path: str | None = None) -> Refusal | None:
    """Refuse a reset, of a submodule at its path, in the middle of what it would leave half-done."""
    if operation is None or operation in _ENDED_BY_RESET:
        return None
    where = f"submodule {one_line(path)}: " if path is not None else ""
    return Refusal(Code.CONFLICT, where + _unfinished(operation))


def refuse_switch(
    path: str, tree: Tree, unpublished: int, operation: Operation | None = None
) -> Refusal | None:
    """Refuse to move a submodule to other commits while it holds work that this would hide."""
    where, folder = one_line(path), shell_word(path)
    text = _unfinished(operation) if operation else None
    text = text or _dirty(tree.work, f"git commit or git stash them in {where} first")
    if text is None and unpublished:
        which = "1 commit is" if unpublished == 1 else f"{unpublished} commits are"
        text = f"{which} on no branch: git -C {folder} switch -c NAME keeps them"
    return Refusal(Code.CONFLICT, f"submodule {where}: {text}") if text else None


def conflicted(files: Sequence[str], upstream: str) -> Refusal:
    """Tell that local commits and the remote's do not go together; all is as it was."""
    text = (
        f"your commits and {one_line(upstream)} change the same places in {list_paths(files)}; "
        "nothing was changed: git pull --rebase lets you settle it by hand, "
        "llorch-pool git sync drops your commits"
    )
    return Refusal(Code.CONFLICT, text, {"files": [one_line(file) for file in files]})


def gone(branch: Branch) -> Refusal:
    """Tell that the branch that is followed is not there any more."""
    upstream = one_line((branch.upstream or "").removeprefix("refs/remotes/"))
    text = (
        f"{one_line(branch.name)} follows {upstream}, which is gone: "
        f"git branch --unset-upstream {shell_word(branch.name)} ends that"
    )
    return Refusal(Code.CONFLICT, text)


def find_branch(branches: Sequence[Branch], wanted: str) -> Branch | Refusal:
    """Find a branch by its name, the local one first, else the only remote's of that name."""
    for branch in branches:
        if branch.name == wanted and not branch.is_remote:
            return branch
    remote = [it for it in branches if it.is_remote and it.name.partition("/")[2] == wanted]
    if len(remote) == 1:
        return remote[0]
    name = one_line(wanted)
    if remote:
        where = ", ".join(one_line(it.name) for it in remote)
        return Refusal(Code.CONFLICT, f"{name} is in several remotes ({where}): make it by hand")
    known = sorted({it.name.partition("/")[2] if it.is_remote else it.name for it in branches})
    text = f"there is no branch {name}; known are: {list_paths(known)}"
    return Refusal(Code.NOT_FOUND, text)


def loss_lines(losses: Losses) -> list[str]:
    """Say for people what would be lost."""
    lines: list[str] = []
    if losses.commits_total:
        lines.append(
            _counted(losses.commits_total, "commit that is", "commits that are", "not there")
        )
        lines += _listed(losses.commits, losses.commits_total)
    if losses.changes:
        lines.append(_counted(len(losses.changes), "file", "files", "with changes"))
        lines += _listed([change.path for change in losses.changes], len(losses.changes))
    if losses.overwritten:
        one, several = "untracked file that is", "untracked files that are"
        lines.append(_counted(len(losses.overwritten), one, several, "overwritten"))
        lines += _listed(losses.overwritten, len(losses.overwritten))
    return [*lines, *losses.submodules]


def list_paths(paths: Sequence[str]) -> str:
    """Name a few of many."""
    shown = ", ".join(one_line(path) for path in paths[:_NAMED])
    left = len(paths) - _NAMED
    return f"{shown} and {left} more" if left > 0 else shown or "nothing"


def _unfinished(operation: Operation) -> str:
    if operation is Operation.BISECT:
        return "a git bisect is under way: git bisect reset ends it"
    word = operation.value
    return f"a git {word} is under way: finish it, or git {word} --abort undoes it"


def _not_followed(branch: Branch) -> str | None:
    name, word = one_line(branch.name), shell_word(branch.name)
    if branch.upstream is None:
        return (
            f"{name} follows no remote branch: "
            f"git branch --set-upstream-to={shell_word(f'origin/{branch.name}')} {word} "
            "makes it follow one"
        )
    return gone(branch).message if branch.is_gone else None


def _dirty(work: Sequence[Change], advice: str) -> str | None:
    if not work:
        return None
    files = "1 file has" if len(work) == 1 else f"{len(work)} files have"
    return f"{files} changes ({list_paths([change.path for change in work])}): {advice}"


def _counted(count: int, one: str, several: str, rest: str) -> str:
    return f"{count} {one if count == 1 else several} {rest}:"


def _listed(items: Sequence[str], total: int) -> list[str]:
    lines = [f"  {one_line(item)}" for item in items[:_SHOWN]]
    left = total - len(lines)
    return [*lines, f"  and {left} more"] if left > 0 else lines
