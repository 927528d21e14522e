"""Moves one submodule: to the newest commit, to a branch, or back to what is recorded."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from orchestrator_core.errors import Code, Refusal, error_for
from pool_ctl.git.checkout import Checkout, accepted
from pool_ctl.git.gitmodules import Recorded, refuse_unusable
from pool_ctl.git.history import Branch
from pool_ctl.git.invocation import refuse_name
from pool_ctl.git.plain import one_line, shell_word
from pool_ctl.git.rules import find_branch, refuse_switch, refuse_sync
from pool_ctl.git.syncing import drop_changes

__all__ = ["Moved", "initialised", "reset", "switch", "update"]

_ORIGIN: Final = "origin"
_FETCH: Final = ("fetch", "--progress", "--no-recurse-submodules")


@dataclass(frozen=True, slots=True)
class Moved:
    """Where a submodule was and where it is; no branch means that only a commit is checked out."""

    name: str
    path: str
    before: str | None
    after: str | None
    branch: str | None


def initialised(checkout: Checkout, module: Recorded) -> Checkout:
    """The checkout of a submodule; one that is not there yet is refused with what fetches it."""
    inner = checkout.inner(module)
    if inner is None:
        name = one_line(module.name)
        text = (
            f"submodule {name} is not initialised: "
            f"llorch-pool git submodules update --name {shell_word(module.name)}"
        )
        raise error_for(Refusal(Code.CONFLICT, text))
    return inner


def update(checkout: Checkout, module: Recorded, say: Callable[[str], None]) -> Moved:
    """Bring a submodule to the newest commit: of its branch, or of what .gitmodules names."""
    _refuse(refuse_unusable(module))
    say(f"updating submodule {one_line(module.path)}")
    inner = checkout.inner(module)
    before = inner.commit_of("HEAD") if inner else None
    if inner is not None:
        _refuse_hiding(inner, module)
    tree = inner.tree() if inner else None
    if inner is None or tree is None or tree.branch is None:
        words = ("--literal-pathspecs", "submodule", "update", "--init", "--checkout", "--progress")
        if inner is None:
            # A first clone is done at the recorded commit, so that a failure tells which step.
            checkout.git.transfer(*words, "--", module.path)
        checkout.git.transfer(*words, "--remote", "--", module.path)
        inner = initialised(checkout, module)
    else:
        _forward(inner, module, inner.branch(tree))
    inner.git.transfer("submodule", "update", "--init", "--recursive", "--progress")
    return _moved(module, inner, before)


def switch(checkout: Checkout, module: Recorded, wanted: str) -> Moved:
    """Check a branch of a submodule out, the local one or a new one that follows the remote's."""
    reason = refuse_name(wanted)
    inner = initialised(checkout, module)
    if reason is None and inner.git.run("check-ref-format", f"refs/heads/{wanted}").code:
        reason = "git allows no such name"
    if reason is not None:
        text = f"{one_line(wanted) or 'this'} cannot be the name of a branch: {reason}"
        raise error_for(Refusal(Code.INVALID_REQUEST, text))
    _refuse_hiding(inner, module)
    before = inner.commit_of("HEAD")
    if _ORIGIN in inner.remotes():
        inner.git.transfer(*_FETCH)
    branch = accepted(find_branch(inner.branches(), wanted))
    if branch.is_remote:
        inner.git.act("switch", "--create", wanted, "--track", branch.full_name)
    else:
        inner.git.act("switch", "--no-guess", wanted)
    inner.git.transfer("submodule", "update", "--init", "--recursive", "--progress")
    return _moved(module, inner, before)


def reset(checkout: Checkout, module: Recorded) -> Moved:
    """Put a submodule back to the commit that is recorded, without the changes in it."""
    _refuse(refuse_unusable(module))
    inner = checkout.inner(module)
    before = inner.commit_of("HEAD") if inner else None
    if inner is not None:
        _refuse(refuse_sync(inner.operation(), module.path))
        drop_changes(inner)
    words = ("--literal-pathspecs", "submodule", "update", "--init", "--recursive", "--progress")
    checkout.git.transfer(*words, "--checkout", "--", module.path)
    return _moved(module, initialised(checkout, module), before)


def _forward(inner: Checkout, module: Recorded, branch: Branch | None) -> None:
    where = one_line(module.path)
    if branch is None or branch.upstream is None:
        name = one_line(branch.name) if branch else "its branch"
        text = f"submodule {where}: {name} follows no remote branch: switch to one that does"
        raise error_for(Refusal(Code.CONFLICT, text))
    inner.git.transfer(*_FETCH)
    target = inner.commit_of(branch.upstream)
    upstream = one_line(branch.upstream.removeprefix("refs/remotes/"))
    if target is None:
        text = f"submodule {where}: {upstream} is gone: switch to another branch"
        raise error_for(Refusal(Code.CONFLICT, text))
    if inner.count(f"{target}..HEAD") and inner.count(f"HEAD..{target}"):
        text = (
            f"submodule {where}: {one_line(branch.name)} and {upstream} have both gone on: "
            f"git -C {shell_word(module.path)} pull --rebase joins them"
        )
        raise error_for(Refusal(Code.CONFLICT, text))
    inner.git.act("merge", "--ff-only", "--quiet", target)


def _refuse_hiding(inner: Checkout, module: Recorded) -> None:
    tree = inner.tree()
    unpublished = inner.unpublished() if tree.commit and tree.branch is None else 0
    _refuse(refuse_switch(module.path, tree, unpublished, inner.operation()))


def _moved(module: Recorded, inner: Checkout, before: str | None) -> Moved:
    tree = inner.tree()
    return Moved(module.name, module.path, before, tree.commit, tree.branch)


def _refuse(refusal: Refusal | None) -> None:
    if refusal is not None:
        raise error_for(refusal)
