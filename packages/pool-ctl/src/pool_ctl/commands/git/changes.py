"""llorch-pool git pull, sync and clean: what changes the files of a checkout."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from orchestrator_core.console.options import output_options
from orchestrator_core.console.render import Column, Format, Output, cell
from pool_ctl.commands.git.options import (
    allowed,
    force_option,
    open_meant,
    refuse_to_guess,
    repo_option,
)
from pool_ctl.commands.git.views import short
from pool_ctl.git.plain import one_line, readable
from pool_ctl.settings import CliSettings

if TYPE_CHECKING:
    from pool_ctl.git.pulling import Pulled
    from pool_ctl.git.syncing import SyncPlan

__all__ = ["clean", "pull", "sync"]

_PATHS: Final = (Column("path", "Path"),)


@click.command(
    short_help="Fetch, rebase onto the upstream, update the submodules.",
    epilog="\b\nExamples:\n  llorch-pool git pull\n  llorch-pool git pull --repo ~/llama-orch",
)
@repo_option
@output_options
@click.pass_obj
def pull(settings: CliSettings, *, repo: Path | None, out: Output) -> None:
    """Bring the branch up to the one that it follows, and the submodules to what that records.

    Commits of your own are put on top; those that the remote has taken back are left out. Changes
    that are not committed are refused, and so is what does not go together: then everything is
    left as it was.
    """
    from pool_ctl.git import pulling

    done = pulling.pull(open_meant(settings, repo), out.say)
    if out.shape is Format.TABLE:
        out.text(_pulled_line(done))
    else:
        modules = {"submodules": done.submodules}
        row = {"branch": readable(done.branch), "upstream": readable(done.upstream)}
        counts = {"fetched": done.fetched, "dropped": done.dropped, "own": done.own}
        out.record({**row, "before": done.before, "after": done.after, **counts, **modules}, ())


@click.command(
    short_help="Make the checkout what its remote has; asks first.",
    epilog="""\b
Examples:
  llorch-pool git sync
  llorch-pool git sync --dry-run
  llorch-pool git sync --force
""",
)
@force_option
@click.option("--dry-run", is_flag=True, help="Fetch, show what would be lost, and stop there.")
@repo_option
@output_options
@click.pass_obj
def sync(
    settings: CliSettings, *, force: bool, dry_run: bool, repo: Path | None, out: Output
) -> None:
    """Fetch from every remote and reset everything to the branch that is followed.

    A branch that follows none, or a checkout without a branch, goes to the default branch of
    origin. Submodules go to what is recorded there. Commits and changes that would be lost are
    shown first; files that git does not know stay.
    """
    from pool_ctl.git import syncing

    if not dry_run:
        refuse_to_guess("sync", force=force)
    checkout = open_meant(settings, repo)
    plan = syncing.plan_sync(checkout, out.say)
    _show_losses(out, plan)
    where = one_line(str(checkout.top))
    question = f"Reset {where} to {one_line(plan.target)} ({short(plan.after)})?"
    if dry_run or (not plan.is_there and not allowed(out, question, force=force)):
        _report_sync(out, plan, done=False, submodules=0)
        return
    count = syncing.sync(checkout, plan, out.say)
    _report_sync(out, plan, done=True, submodules=count)


@click.command(
    short_help="Remove files that git does not know; asks first.",
    epilog="""\b
Examples:
  llorch-pool git clean
  llorch-pool git clean --dry-run
  llorch-pool git clean --force
""",
)
@force_option
@click.option("--dry-run", is_flag=True, help="Only list what would be removed.")
@repo_option
@output_options
@click.pass_obj
def clean(
    settings: CliSettings, *, force: bool, dry_run: bool, repo: Path | None, out: Output
) -> None:
    """List the files and folders that git does not know, and remove them.

    Ignored files stay, and so do repositories that lie in the checkout. Only what was listed is
    removed.
    """
    from pool_ctl.git.cleaning import find_leavings, remove_leavings

    checkout = open_meant(settings, repo)
    found = find_leavings(checkout)
    for path in found.repositories:
        out.say(f"{one_line(path)} is a repository of its own and stays")
    paths = [readable(path) for path in found.paths]
    if out.shape is Format.TABLE:
        out.rows([{"path": path} for path in paths], _PATHS, empty="There is nothing to remove.")
    if paths and not dry_run:
        refuse_to_guess("clean", force=force)
        things = "1 thing" if len(paths) == 1 else f"{len(paths)} things"
        question = f"Remove {things} from {one_line(str(checkout.top))}?"
        done = allowed(out, question, force=force)
        if done:
            remove_leavings(checkout, found)
            out.say(f"{things} removed")
    else:
        done = False
    if out.shape is not Format.TABLE:
        skipped = [readable(path) for path in found.repositories]
        out.record({"removed": done, "paths": paths, "repositories": skipped}, ())


def _pulled_line(done: "Pulled") -> str:
    branch, upstream = cell(readable(done.branch)), cell(readable(done.upstream))
    if not done.fetched:
        text = f"{branch} has everything of {upstream}"
    else:
        commits = "1 commit" if done.fetched == 1 else f"{done.fetched} commits"
        text = f"{branch} got {commits} of {upstream}, now at {short(done.after)}"
    if done.dropped:
        text += f"; {done.dropped} that it has taken back left out"
    if done.own:
        text += f"; {done.own} of your own on top"
    return text


def _show_losses(out: Output, plan: "SyncPlan") -> None:
    from pool_ctl.git.rules import loss_lines

    if out.shape is not Format.TABLE:
        return
    if not plan.losses.is_empty:
        out.text(f"A reset to {one_line(plan.target)} loses:")
    for line in loss_lines(plan.losses):
        out.text(f"  {line}")


def _report_sync(out: Output, plan: "SyncPlan", *, done: bool, submodules: int) -> None:
    target = one_line(plan.target)
    if out.shape is Format.TABLE:
        incoming = "1 new commit" if plan.incoming == 1 else f"{plan.incoming} new commits"
        if done:
            out.text(f"now at {target} ({short(plan.after)}), {incoming}")
        elif plan.losses.is_empty:
            out.text(f"{target} ({short(plan.after)}) has {incoming}; nothing would be lost")
        return
    losses = plan.losses
    lost = {
        "commits_total": losses.commits_total,
        "commits": [readable(commit) for commit in losses.commits],
        "changes": [readable(change.path) for change in losses.changes],
        "overwritten": [readable(path) for path in losses.overwritten],
        "submodules": list(losses.submodules),
    }
    row = {"target": target, "before": plan.before, "after": plan.after, "incoming": plan.incoming}
    out.record({**row, "synced": done, "lost": lost, "submodules": submodules}, ())
