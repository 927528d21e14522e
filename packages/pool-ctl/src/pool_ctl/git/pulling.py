"""Brings a checkout up to its upstream by a rebase, or leaves it as it was; then its submodules."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from orchestrator_core.errors import Code, Refusal, error_for
from pool_ctl.git.checkout import Checkout
from pool_ctl.git.history import Branch
from pool_ctl.git.plain import one_line
from pool_ctl.git.porcelain import Tree
from pool_ctl.git.rebasing import rebase
from pool_ctl.git.rules import refuse_pull, refuse_switch

__all__ = ["Pulled", "bring_submodules", "pull"]

_REMOTES: Final = "refs/remotes/"


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a pull did; own counts the commits that now stand on top of the remote's.

    Dropped are those that came from the remote once and are not in its branch any more.
    """

    branch: str
    upstream: str
    before: str
    after: str
    fetched: int
    dropped: int
    own: int
    submodules: int


def pull(checkout: Checkout, say: Callable[[str], None]) -> Pulled:
    """Fetch, rebase, update the submodules; every failing step ends the pull with its reason."""
    tree = checkout.tree()
    branch = checkout.branch(tree)
    refusal = refuse_pull(tree, checkout.operation(), branch)
    if refusal is not None or branch is None or branch.upstream is None:
        raise error_for(refusal or Refusal(Code.CONFLICT, "no branch is checked out"))
    _refuse_hiding(checkout)
    upstream = branch.upstream.removeprefix(_REMOTES)
    say(f"fetching from {one_line(branch.remote or upstream)}")
    target = checkout.fetch_followed(branch)
    fetched = checkout.count(f"{branch.commit}..{target}")
    base, dropped = _base(checkout, branch, target)
    if dropped:
        commits = "1 commit that is" if dropped == 1 else f"{dropped} commits that are"
        say(f"{one_line(upstream)} was rewritten: leaving out {commits} not in it any more")
    if fetched or dropped:
        rebase(checkout, branch.commit, target, base, upstream)
    after = checkout.commit_of("HEAD") or target
    own = checkout.count(f"{target}..{after}")
    submodules = bring_submodules(checkout, say)
    return Pulled(branch.name, upstream, branch.commit, after, fetched, dropped, own, submodules)


def bring_submodules(checkout: Checkout, say: Callable[[str], None]) -> int:
    """Check every submodule out at the commit that is recorded; tells how many there are."""
    count = len(checkout.links())
    if count:
        say("updating 1 submodule" if count == 1 else f"updating {count} submodules")
        words = ("submodule", "update", "--init", "--recursive", "--progress")
        checkout.git.transfer(*words)
    return count


def _refuse_hiding(checkout: Checkout) -> None:
    """Refuse to take a submodule away from commits that nothing else leads to."""
    for module in checkout.links():
        inner = checkout.inner(module)
        tree = inner.tree() if inner else None
        if inner is None or tree is None or tree.branch or tree.commit in (None, module.commit):
            continue
        # Changed files are git's affair here: it keeps them, or refuses to touch them.
        refusal = refuse_switch(module.path, Tree(), inner.unpublished(), inner.operation())
        if refusal is not None:
            raise error_for(refusal)


def _base(checkout: Checkout, branch: Branch, target: str) -> tuple[str, int]:
    """Where the commits of one's own begin, and how many before them the remote has taken back."""
    words = ("merge-base", "--fork-point", branch.upstream or "", branch.commit)
    fork = checkout.git.line(*words)
    dropped = checkout.count(f"{target}..{fork}") if fork else 0
    return (fork, dropped) if fork and dropped else (target, 0)
