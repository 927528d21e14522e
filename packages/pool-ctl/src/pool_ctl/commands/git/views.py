"""Turns what a checkout tells into rows: plain values for scripts, columns for people."""

from typing import TYPE_CHECKING, Final

from orchestrator_core.console.render import Column, cell
from pool_ctl.git.plain import hide_secrets, readable

if TYPE_CHECKING:
    from pool_ctl.git.gitmodules import Recorded, Submodule
    from pool_ctl.git.history import Branch, Commit
    from pool_ctl.git.modules import Moved
    from pool_ctl.git.porcelain import Change

__all__ = [
    "BRANCH_COLUMNS",
    "CHANGE_COLUMNS",
    "MOVED_COLUMNS",
    "RECORDED_COLUMNS",
    "SUBMODULE_COLUMNS",
    "branch_row",
    "change_row",
    "clipped",
    "commit_row",
    "moved_row",
    "recorded_row",
    "short",
    "submodule_row",
]

_SHORT: Final = 10
_CLIPPED: Final = 240


def short(commit: object) -> str:
    """The first letters of a commit's id."""
    return commit[:_SHORT] if isinstance(commit, str) else "-"


def clipped(value: object) -> str:
    """Any text, cut where no screen shows more: a subject may be as long as its author likes."""
    text = cell(value)
    return text if len(text) <= _CLIPPED else f"{text[: _CLIPPED - 3]}..."


def _mark(current: object) -> str:
    return "*" if current else ""


CHANGE_COLUMNS: Final = (
    Column("kind", "Kind"),
    Column("index", "Index"),
    Column("worktree", "Files"),
    Column("path", "Path"),
    Column("before", "Was"),
)

SUBMODULE_COLUMNS: Final = (
    Column("name", "Name"),
    Column("path", "Path"),
    Column("state", "State"),
    Column("branch", "Branch"),
    Column("commit", "Commit", show=short),
    Column("recorded", "Recorded", show=short),
    Column("changes", "Changes", right=True),
    Column("untracked", "Untracked", right=True),
    Column("fault", "Fault"),
)

RECORDED_COLUMNS: Final = (
    Column("name", "Name"),
    Column("path", "Path"),
    Column("recorded", "Recorded", show=short),
    Column("follows", "Follows"),
    Column("url", "URL"),
)

MOVED_COLUMNS: Final = (
    Column("name", "Name"),
    Column("path", "Path"),
    Column("branch", "Branch"),
    Column("before", "Before", show=short),
    Column("after", "After", show=short),
)

BRANCH_COLUMNS: Final = (
    Column("current", "", show=_mark),
    Column("name", "Name"),
    Column("where", "Where"),
    Column("commit", "Commit", show=short),
    Column("upstream", "Upstream"),
    Column("ahead", "Ahead", right=True),
    Column("behind", "Behind", right=True),
    Column("subject", "Subject", show=clipped),
)


def change_row(change: "Change") -> dict[str, object]:
    """One path that differs."""
    return {
        "path": readable(change.path),
        "kind": change.kind.value,
        "index": change.index,
        "worktree": change.worktree,
        "before": _text(change.before),
        "submodule": change.module != "N...",
    }


def commit_row(commit: "Commit") -> dict[str, object]:
    """One commit."""
    return {
        "id": commit.id,
        "short": commit.short,
        "subject": readable(commit.subject),
        "author": readable(commit.author),
        "at": commit.at,
        "parents": list(commit.parents),
        "refs": [readable(name) for name in commit.refs],
    }


def branch_row(branch: "Branch") -> dict[str, object]:
    """One branch; a remote one follows nothing, so it has no counts."""
    upstream = branch.upstream.removeprefix("refs/remotes/") if branch.upstream else None
    return {
        "name": readable(branch.name),
        "where": "remote" if branch.is_remote else "local",
        "current": branch.is_current,
        "commit": branch.commit,
        "upstream": _text(upstream),
        "upstream_gone": branch.is_gone,
        "ahead": branch.ahead,
        "behind": branch.behind,
        "at": branch.at,
        "subject": readable(branch.subject),
    }


def recorded_row(module: "Recorded") -> dict[str, object]:
    """One submodule as it is recorded."""
    return {
        "name": readable(module.name),
        "path": readable(module.path),
        "recorded": module.commit,
        "follows": _text(module.branch),
        "url": _text(hide_secrets(module.url)) if module.url else None,
    }


def submodule_row(module: "Submodule") -> dict[str, object]:
    """One submodule as it lies there."""
    return {
        "name": readable(module.recorded.name),
        "path": readable(module.recorded.path),
        "state": module.state.value,
        "branch": _text(module.branch),
        "commit": module.commit,
        "recorded": module.recorded.commit,
        "changes": module.changes,
        "untracked": module.untracked,
        "fault": module.fault,
    }


def moved_row(moved: "Moved") -> dict[str, object]:
    """Where a submodule was and is."""
    return {
        "name": readable(moved.name),
        "path": readable(moved.path),
        "branch": _text(moved.branch),
        "before": moved.before,
        "after": moved.after,
    }


def _text(value: str | None) -> str | None:
    return None if value is None else readable(value)
