"""llorch-pool git: work on the checkout of this host, with its remotes and its submodules."""

from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import click

from orchestrator_core.console.lazy_group import LazyGroup
from orchestrator_core.console.options import output_options
from orchestrator_core.console.render import Column, Format, Output
from pool_ctl.commands.git.changes import clean, pull, sync
from pool_ctl.commands.git.options import open_meant, repo_option
from pool_ctl.commands.git.submodules import submodules
from pool_ctl.commands.git.views import (
    BRANCH_COLUMNS,
    CHANGE_COLUMNS,
    SUBMODULE_COLUMNS,
    branch_row,
    change_row,
    clipped,
    commit_row,
    submodule_row,
)
from pool_ctl.git.plain import readable
from pool_ctl.settings import CliSettings

if TYPE_CHECKING:
    from pool_ctl.git.checkout import Checkout
    from pool_ctl.git.porcelain import Tree

__all__ = ["branches", "git", "log", "status"]

_COLUMNS: Final = (
    Column("repo", "Checkout"),
    Column("shown_commit", "Commit", show=clipped),
    Column("shown_branch", "Branch"),
    Column("shown_remotes", "Remotes"),
    Column("operation", "Under way"),
    Column("shown_shallow", "History"),
    Column("shown_changes", "Changes"),
)


@click.command(
    short_help="Show commit, branch, remotes, changes and submodules.",
    epilog="\b\nExamples:\n  llorch-pool git status\n  llorch-pool git status --format json",
)
@repo_option
@output_options
@click.pass_obj
def status(settings: CliSettings, *, repo: Path | None, out: Output) -> None:
    """Show the last commit, the branch, the remotes, what differs and how each submodule stands.

    Nothing is fetched, so ahead and behind count from the last fetch.
    """
    checkout = open_meant(settings, repo)
    tree = checkout.tree()
    facts = _facts(checkout, tree)
    modules = [submodule_row(checkout.look_at(module)) for module in checkout.recorded()]
    changes = [change_row(change) for change in tree.changes]
    if out.shape is not Format.TABLE:
        out.record({**facts, "changes": changes, "submodules": modules}, ())
        return
    out.record({**facts, **_shown(facts, len(changes))}, _COLUMNS)
    for rows, columns in ((changes, CHANGE_COLUMNS), (modules, SUBMODULE_COLUMNS)):
        if rows:
            out.text("")
            out.rows(rows, columns)


@click.command(
    short_help="Show the last commits as a graph.",
    epilog="\b\nExamples:\n  llorch-pool git log\n  llorch-pool git log -n 5 --format json",
)
@click.option(
    "--count",
    "-n",
    type=click.IntRange(1, 100_000),
    default=20,
    show_default=True,
    metavar="N",
    help="How many commits.",
)
@repo_option
@output_options
@click.pass_obj
def log(settings: CliSettings, *, count: int, repo: Path | None, out: Output) -> None:
    """Show the last commits of the branch that is checked out, and how they hang together."""
    checkout = open_meant(settings, repo)
    # A name without its commit is a fault that git itself has to tell.
    has_commits = checkout.git.line("rev-parse", "--verify", "--quiet", "HEAD") is not None
    if out.shape is not Format.TABLE:
        commits = checkout.commits(count) if has_commits else []
        out.rows([commit_row(commit) for commit in commits], ())
    elif has_commits:
        for line in checkout.graph(count):
            out.text(clipped(readable(line)).rstrip())
    else:
        out.say("There are no commits yet.")


@click.command(
    short_help="List local and remote branches, ahead and behind.",
    epilog="\b\nExample:\n  llorch-pool git branches",
)
@repo_option
@output_options
@click.pass_obj
def branches(settings: CliSettings, *, repo: Path | None, out: Output) -> None:
    """List the local branches and the remote ones as they were when they were last fetched.

    Ahead and behind count commits against the branch that a local one follows.
    """
    rows = [branch_row(branch) for branch in open_meant(settings, repo).branches()]
    out.rows(rows, BRANCH_COLUMNS, empty="There are no branches yet.")


git = LazyGroup(
    "git",
    commands=[status, pull, sync, clean, log, branches, submodules],
    help="Work on a git checkout of this host and its submodules.\n\n"
    "The checkout is --repo, else the configured one, else that of this folder. Its remotes, "
    "settings and hooks are yours and stay in force; nothing ever asks for a password.",
    epilog="""\b
Examples:
  llorch-pool git status
  llorch-pool git pull --repo ~/llama-orch
  llorch-pool git submodules update --all
""",
)


def _facts(checkout: "Checkout", tree: "Tree") -> dict[str, object]:
    last = checkout.commits(1) if tree.commit else []
    operation = checkout.operation()
    return {
        "repo": readable(str(checkout.top)),
        "commit": commit_row(last[0]) if last else None,
        "branch": readable(tree.branch) if tree.branch is not None else None,
        "upstream": readable(tree.upstream) if tree.upstream is not None else None,
        "ahead": tree.ahead,
        "behind": tree.behind,
        "remotes": [
            {"name": readable(name), "url": readable(url)}
            for name, url in checkout.remotes().items()
        ],
        "operation": operation.value if operation else None,
        "shallow": checkout.is_shallow,
        "clean": not tree.changes,
    }


def _shown(facts: dict[str, object], changes: int) -> dict[str, object]:
    """The same facts as people read them."""
    commit, remotes, branch = facts["commit"], facts["remotes"], facts["branch"]
    shown = "none yet"
    if isinstance(commit, dict):
        shown = f"{commit['short']} {commit['subject']} ({commit['author']}, {commit['at']})"
    where = branch or "none: HEAD is detached"
    if facts["upstream"]:
        where = f"{where}, follows {facts['upstream']}"
    if facts["ahead"] is not None:
        where = f"{where}: {facts['ahead']} ahead, {facts['behind']} behind"
    listed = [f"{it['name']} {it['url']}" for it in cast("list[dict[str, object]]", remotes)]
    return {
        "shown_commit": shown,
        "shown_branch": where,
        "shown_remotes": listed or "none",
        "shown_shallow": "shallow: old commits are not here" if facts["shallow"] else None,
        "shown_changes": changes or "none",
    }
