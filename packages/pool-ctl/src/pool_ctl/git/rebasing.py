"""Puts commits on top of another commit, or leaves everything as it was, whatever goes wrong."""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from orchestrator_core.errors import Code, LlorchError, Refusal, error_for
from pool_ctl.git.checkout import Checkout
from pool_ctl.git.leavings import batches
from pool_ctl.git.plain import bytes_of, text_of
from pool_ctl.git.porcelain import Kind
from pool_ctl.git.rules import Operation, conflicted

__all__ = ["rebase"]


def rebase(checkout: Checkout, before: str, target: str, base: str, upstream: str) -> None:
    """Put what comes after the base on top of the target; the checkout must have no changes."""
    absent = _not_there(checkout, before, target)
    try:
        checkout.git.act("rebase", "--no-autostash", "--no-stat", "--onto", target, base)
    except BaseException as failure:
        # Also after Ctrl-C: there was no rebase before, so this one is ours to undo.
        files = _undo(checkout, before, absent)
        if files and isinstance(failure, LlorchError):
            raise error_for(conflicted(files, upstream)) from failure
        raise


def _undo(checkout: Checkout, before: str, absent: Sequence[str]) -> list[str]:
    """Go back to where the rebase began; tells which files it could not join."""
    files: list[str] = []
    if checkout.operation() is Operation.REBASE:
        files = [it.path for it in checkout.tree().changes if it.kind is Kind.CONFLICT]
        checkout.git.act("rebase", "--abort")
    if checkout.commit_of("HEAD") != before:
        text = f"git rebase --abort has not led back: git reset --hard {before} does"
        raise error_for(Refusal(Code.GIT_FAILED, text))
    _take_back(checkout, before, absent)
    return files


def _take_back(checkout: Checkout, before: str, absent: Sequence[str]) -> None:
    """Take away what git leaves of a checkout that failed midway, as on a full disk."""
    written = [path for path in absent if _is_there(checkout, path)]
    for batch in batches(written):
        words = ("clean", "--force", "-d", "-x", "--quiet")
        checkout.git.act("--literal-pathspecs", *words, "--", *batch)
    for path in written:
        _remove_empty(checkout.top, path)
    if checkout.tree().work:
        checkout.git.act("reset", "--hard", "--quiet", before)


def _remove_empty(top: Path, path: str) -> None:
    """Remove the folders of a file that are empty without it."""
    with contextlib.suppress(OSError):
        for parent in PurePosixPath(path).parents[:-1]:
            (top / parent).rmdir()


def _not_there(checkout: Checkout, before: str, target: str) -> list[str]:
    """The new files of the target that do not exist yet: only a checkout can make them."""
    words = ("diff-tree", "-r", "-z", "--no-renames", "--diff-filter=A", "--name-only")
    added = checkout.git.ask(*words, before, target, "--").split(b"\0")[:-1]
    paths = [text_of(path) for path in added]
    return [path for path in paths if not _is_there(checkout, path)]


def _is_there(checkout: Checkout, path: str) -> bool:
    return os.path.lexists(bytes_of(str(checkout.top)) + b"/" + bytes_of(path))
