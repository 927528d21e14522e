"""llorch-pool models delete: one model, or what is long unused; shows what it frees and asks."""

import sys
from typing import TYPE_CHECKING, Final

import click

from orchestrator_core.console.options import output_options, pool_url
from orchestrator_core.console.render import Format, Output, cell
from orchestrator_core.units import format_bytes
from pool_ctl.commands.live_names import MODELS
from pool_ctl.commands.models.options import Duration, Size
from pool_ctl.settings import CliSettings

if TYPE_CHECKING:
    from orchestrator_core.contracts.models import CleanUpReport, DeleteReport
    from pool_ctl.pools.models.port import ModelsPort

__all__ = ["delete"]

_EPILOG: Final = """\b
Examples:
  llorch-pool models delete tinyllama
  llorch-pool models delete tinyllama --dry-run
  llorch-pool models delete --unused-for 30d --force
  llorch-pool models delete --to-free 20GiB --dry-run
"""


@click.command("delete", short_help="Delete a model, or what is long unused.", epilog=_EPILOG)
@click.argument("name", metavar="[M]", required=False, shell_complete=MODELS)
@click.option("--force", "-f", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Only show what would be freed.")
@click.option(
    "--unused-for", type=Duration(), metavar="TIME", help="All that nobody has used for so long."
)
@click.option(
    "--to-free",
    type=Size(),
    metavar="SIZE",
    help="What was used longest ago, until so much is freed.",
)
@pool_url
@output_options
@click.pass_obj
def delete(
    settings: CliSettings,
    *,
    name: str | None,
    force: bool,
    dry_run: bool,
    unused_for: float | None,
    to_free: int | None,
    url: str | None,
    out: Output,
) -> None:
    """Delete the model M, or with --unused-for or --to-free those used longest ago.

    What would be freed is shown first, and nothing is deleted without a yes or --force. A model
    that a worker holds is never deleted; --unused-for and --to-free also spare what was used within
    the last hour.
    """
    many = unused_for is not None or to_free is not None
    if not name and not many:
        raise click.UsageError("name a model, or take --unused-for or --to-free")
    if name is not None and many:
        raise click.UsageError("--unused-for and --to-free choose the models themselves: name none")
    from pool_ctl.pools.models.choice import open_models

    with open_models(settings, url, out.say) as here:
        if name:
            _delete_one(here, name, force=force, dry_run=dry_run, out=out)
        else:
            _clean_up(here, unused_for, to_free, force=force, dry_run=dry_run, out=out)


def _delete_one(here: "ModelsPort", name: str, *, force: bool, dry_run: bool, out: Output) -> None:
    from orchestrator_core.contracts.models import DeleteOrder
    from pool_ctl.commands.models.orders import read_order

    seen = here.delete(read_order(DeleteOrder, {"model": name, "dry_run": True}))
    if dry_run:
        _show(seen, out)
        return
    if not force:
        out.say(_line(seen, "deleting it frees"))
        for reason in seen.reasons:
            out.say(f"  {cell(reason)}")
        if not _may(f"Delete {cell(seen.id)}?", out):
            return
    # What was named first and what is deleted are the same, whatever name it goes by.
    _show(here.delete(DeleteOrder(model=seen.id)), out)


def _clean_up(
    here: "ModelsPort",
    unused_s: float | None,
    free_bytes: int | None,
    *,
    force: bool,
    dry_run: bool,
    out: Output,
) -> None:
    from orchestrator_core.contracts.models import CleanUpOrder

    order = CleanUpOrder(unused_s=unused_s, free_bytes=free_bytes, dry_run=True)
    seen = here.clean_up(order)
    if dry_run:
        _show_many(seen, out)
        _warn_of_less(seen, free_bytes, out)
        return
    if not force and (seen.deleted or seen.freed_bytes):
        for report in seen.deleted:
            out.say(_line(report, "frees"))
        freed = format_bytes(seen.freed_bytes)
        if not _may(f"Delete {_count(len(seen.deleted))} and free {freed}?", out):
            return
    done = here.clean_up(order.model_copy(update={"dry_run": False}))
    _show_many(done, out)
    _warn_of_less(done, free_bytes, out)


def _may(question: str, out: Output) -> bool:
    """Ask for a yes; where nobody can answer, --force is the answer."""
    if not sys.stdin.isatty():
        raise click.UsageError("nobody can be asked here: --force deletes without asking")
    if click.confirm(question, err=True):
        return True
    out.say("Nothing was deleted.")
    return False


def _show(report: "DeleteReport", out: Output) -> None:
    if out.shape is not Format.TABLE:
        out.record(report.model_dump(mode="json"), ())
        return
    out.text(_line(report, "would free" if report.dry_run else "deleted, freed"))
    for reason in report.reasons:
        out.say(f"  {cell(reason)}")


def _show_many(report: "CleanUpReport", out: Output) -> None:
    if out.shape is not Format.TABLE:
        out.record(report.model_dump(mode="json"), ())
        return
    for deleted in report.deleted:
        out.text(_line(deleted, "would free" if report.dry_run else "deleted, freed"))
    for name, reason in report.kept.items():
        out.say(cell(f"{name}: kept, {reason}"))
    verb = "would be freed" if report.dry_run else "freed"
    out.text(f"{format_bytes(report.freed_bytes)} {verb} in all")


def _warn_of_less(report: "CleanUpReport", wanted_bytes: int | None, out: Output) -> None:
    if wanted_bytes is not None and report.freed_bytes < wanted_bytes:
        freed, wanted = format_bytes(report.freed_bytes), format_bytes(wanted_bytes)
        out.warn(f"only {freed} of the {wanted} that were wanted can be freed")


def _line(report: "DeleteReport", verb: str) -> str:
    kept = f", {format_bytes(report.kept_bytes)} stay" if report.kept_bytes else ""
    files = f" ({', '.join(report.files)})" if report.files else ""
    return cell(f"{report.id}: {verb} {format_bytes(report.freed_bytes)}{kept}{files}")


def _count(models: int) -> str:
    return "1 model" if models == 1 else f"{models} models"
