"""llorch-pool git submodules: list, examine, update, reset and switch the submodules."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator_core.console.lazy_group import LazyGroup
from orchestrator_core.console.options import output_options
from orchestrator_core.console.render import Format, Output
from pool_ctl.commands.git.options import (
    allowed,
    force_option,
    open_meant,
    refuse_to_guess,
    repo_option,
)
from pool_ctl.commands.git.views import (
    BRANCH_COLUMNS,
    MOVED_COLUMNS,
    RECORDED_COLUMNS,
    SUBMODULE_COLUMNS,
    branch_row,
    moved_row,
    recorded_row,
    short,
    submodule_row,
)
from pool_ctl.git.plain import one_line
from pool_ctl.settings import CliSettings

if TYPE_CHECKING:
    from orchestrator_core.errors import LlorchError
    from pool_ctl.git.checkout import Checkout
    from pool_ctl.git.gitmodules import Recorded
    from pool_ctl.git.modules import Moved

__all__ = ["branch", "list_submodules", "reset", "status", "submodules", "update"]

_NONE = "This checkout has no submodules."

name_option = click.option(
    "--name", required=True, metavar="N", help="Name or path of the submodule, or its last part."
)


@click.command(
    "list",
    short_help="List the submodules that the checkout records.",
    epilog="\b\nExample:\n  llorch-pool git submodules list --format json",
)
@repo_option
@output_options
@click.pass_obj
def list_submodules(settings: CliSettings, *, repo: Path | None, out: Output) -> None:
    """List the submodules: path, recorded commit, the branch that they follow, URL."""
    checkout = open_meant(settings, repo)
    out.rows([recorded_row(it) for it in checkout.recorded()], RECORDED_COLUMNS, empty=_NONE)


@click.command(
    short_help="Show how each submodule stands against what is recorded.",
    epilog="\b\nExample:\n  llorch-pool git submodules status",
)
@repo_option
@output_options
@click.pass_obj
def status(settings: CliSettings, *, repo: Path | None, out: Output) -> None:
    """Show branch, commit and changes of each submodule, and whether it is where it should be."""
    checkout = open_meant(settings, repo)
    rows = [submodule_row(checkout.look_at(module)) for module in checkout.recorded()]
    out.rows(rows, SUBMODULE_COLUMNS, empty=_NONE)


@click.command(
    short_help="Bring submodules to the newest commit of their branch.",
    epilog="""\b
Examples:
  llorch-pool git submodules update --all
  llorch-pool git submodules update --name reference/llama.cpp
""",
)
@click.option("--all", "every", is_flag=True, help="Every submodule.")
@click.option("--name", metavar="N", help="Name or path of one submodule, or its last part.")
@repo_option
@output_options
@click.pass_obj
def update(
    settings: CliSettings, *, every: bool, name: str | None, repo: Path | None, out: Output
) -> None:
    """Bring submodules to the newest commit of their remote; one that is not there is fetched.

    A submodule with a branch checked out goes forward on that branch. Else it goes to the branch
    that .gitmodules names, or to the default one. Changes that are not committed are refused.
    """
    if every == (name is not None):
        raise click.UsageError("give either --all or --name N")
    checkout = open_meant(settings, repo)
    wanted = checkout.recorded() if name is None else [checkout.submodule(name)]
    done, failure = _update_each(checkout, wanted, out)
    out.rows([moved_row(it) for it in done], MOVED_COLUMNS, empty="" if wanted else _NONE)
    if failure is not None:
        raise failure


@click.command(
    short_help="Put a submodule back to the recorded commit; asks first.",
    epilog="\b\nExample:\n  llorch-pool git submodules reset --name reference/llama.cpp",
)
@name_option
@force_option
@click.option("--dry-run", is_flag=True, help="Show what would be lost, and stop there.")
@repo_option
@output_options
@click.pass_obj
def reset(
    settings: CliSettings,
    *,
    name: str,
    force: bool,
    dry_run: bool,
    repo: Path | None,
    out: Output,
) -> None:
    """Put a submodule back to the commit that the checkout records, without the changes in it.

    What would be lost is shown first. Branches of the submodule and files that git does not know
    stay.
    """
    from pool_ctl.git.modules import reset as reset_module
    from pool_ctl.git.syncing import module_losses

    if not dry_run:
        refuse_to_guess("submodules reset", force=force)
    checkout = open_meant(settings, repo)
    module = checkout.submodule(name)
    lost = module_losses(checkout, module)
    for line in lost or [f"submodule {one_line(module.path)}: nothing would be lost"]:
        out.say(line)
    question = f"Reset {one_line(module.path)} to {short(module.commit)}?"
    if not dry_run and allowed(out, question, force=force):
        _show_moved(out, reset_module(checkout, module))
    elif out.shape is not Format.TABLE:
        out.record({**recorded_row(module), "lost": lost}, ())


@click.command(
    short_help="Show the branches of a submodule, or check one out.",
    epilog="""\b
Examples:
  llorch-pool git submodules branch --name reference/llama.cpp
  llorch-pool git submodules branch --name reference/llama.cpp --branch master
""",
)
@name_option
@click.option("--branch", "wanted", metavar="B", help="The branch to check out.")
@repo_option
@output_options
@click.pass_obj
def branch(
    settings: CliSettings, *, name: str, wanted: str | None, repo: Path | None, out: Output
) -> None:
    """Show the branches of a submodule; with --branch, fetch and check that one out.

    A branch that only the remote has is made here and follows it. Changes that are not committed
    are refused.
    """
    from pool_ctl.git.modules import initialised, switch

    checkout = open_meant(settings, repo)
    module = checkout.submodule(name)
    if wanted is not None:
        _show_moved(out, switch(checkout, module, wanted))
        return
    rows = [branch_row(it) for it in initialised(checkout, module).branches()]
    out.rows(rows, BRANCH_COLUMNS, empty="There are no branches yet.")


submodules = LazyGroup(
    "submodules",
    commands=[list_submodules, status, update, reset, branch],
    help="List, examine, update, reset and switch submodules.\n\n"
    "A submodule is another repository at a path of the checkout, which records one commit of it.",
    epilog="""\b
Examples:
  llorch-pool git submodules status
  llorch-pool git submodules update --all
""",
)


def _update_each(
    checkout: "Checkout", wanted: "list[Recorded]", out: Output
) -> "tuple[list[Moved], LlorchError | None]":
    """Update all that can be; the first failure is for the end, any other one is told at once."""
    from orchestrator_core.errors import LlorchError
    from pool_ctl.git.modules import update as update_module

    done: list[Moved] = []
    failure: LlorchError | None = None
    for module in wanted:
        try:
            done.append(update_module(checkout, module, out.say))
        except LlorchError as error:
            if failure is not None:
                out.warn(error.refusal.message)
            failure = failure or error
    return done, failure


def _show_moved(out: Output, moved: "Moved") -> None:
    if out.shape is not Format.TABLE:
        out.record(moved_row(moved), ())
        return
    where = f"{one_line(moved.branch)} " if moved.branch else ""
    out.text(f"submodule {one_line(moved.path)} is at {where}{short(moved.after)}")
