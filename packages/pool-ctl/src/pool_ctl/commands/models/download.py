"""llorch-pool models download: brings models to this host, shows how far it is, and can be cut."""

from typing import TYPE_CHECKING, Final

import click

from orchestrator_core.console.options import output_options, pool_url
from orchestrator_core.console.render import Format, Output, cell
from orchestrator_core.units import format_bytes
from pool_ctl.commands.live_names import CATALOG
from pool_ctl.commands.models.views import STORED_COLUMNS, stored_row
from pool_ctl.commands.progress.voice import Voice
from pool_ctl.settings import CliSettings

if TYPE_CHECKING:
    from orchestrator_core.contracts.downloads import DownloadOrder, DownloadReport
    from orchestrator_core.contracts.models import StoredModel
    from pool_ctl.pools.models.port import ModelsPort

__all__ = ["bring", "download"]

_EPILOG: Final = """\b
Examples:
  llorch-pool models download tinyllama
  llorch-pool models download qwen qwen-fp16
  llorch-pool models download hf:Qwen/Qwen3-8B-GGUF:Q4_K_M --make-room
  llorch-pool models download llama3 --detach

\b
HF_TOKEN opens gated and private models, HF_ENDPOINT names another hub, HTTPS_PROXY a proxy, and
HF_HUB_OFFLINE=1 takes only what is here. A running pool-managerd keeps to those it was started with.
"""


@click.command("download", short_help="Bring models to this host.", epilog=_EPILOG)
@click.argument("names", metavar="M...", nargs=-1, required=True, shell_complete=CATALOG)
@click.option("--force", is_flag=True, help="Fetch again what is there.")
@click.option(
    "--via",
    type=click.Choice(["native", "hf"]),
    default="native",
    show_default=True,
    help="By itself, or by the hf program; the content is verified either way.",
)
@click.option(
    "--make-room", is_flag=True, help="Delete models that nobody has used for the longest time."
)
@click.option("--no-mmproj", is_flag=True, help="Leave away the part that reads images.")
@click.option("--detach", is_flag=True, help="Leave it to pool-managerd, and do not wait.")
@pool_url
@output_options
@click.pass_obj
def download(
    settings: CliSettings,
    *,
    names: tuple[str, ...],
    force: bool,
    via: str,
    make_room: bool,
    no_mmproj: bool,
    detach: bool,
    url: str | None,
    out: Output,
) -> None:
    """Bring models to this host; each M is an id of the catalogue or hf:ORG/REPO:QUANT.

    A download that was cut, even by a crash, goes on where it stopped. A model counts only after
    every byte was verified. Ctrl-C ends it and keeps what was fetched. Exit code 0: they are here.
    """
    from orchestrator_core.contracts.downloads import DownloadOrder
    from pool_ctl.commands.models.orders import read_order
    from pool_ctl.pools.models.choice import open_models

    typed = {"via": via, "force": force, "make_room": make_room, "mmproj": not no_mmproj}
    orders = [read_order(DownloadOrder, {"model": it, **typed}) for it in dict.fromkeys(names)]
    voice = Voice(out.say)
    with open_models(settings, url, voice) as here:
        if detach:
            _leave([here.leave_download(order) for order in orders], out)
            return
        stored = [bring(here, order, out, voice) for order in orders]
    rows = [stored_row(model) for model in stored]
    if out.shape is Format.TABLE:
        # Two names may have meant one model.
        out.rows(list({str(row["id"]): row for row in rows}.values()), STORED_COLUMNS)
    else:
        _dump(rows, out)


def bring(here: "ModelsPort", order: "DownloadOrder", out: Output, voice: Voice) -> "StoredModel":
    """Bring one model, showing a person how far it is; Ctrl-C says how to go on."""
    from pool_ctl.commands.models.attended import attend
    from pool_ctl.commands.progress.moments import moment_of
    from pool_ctl.commands.progress.shown import show_progress

    last: DownloadReport | None = None
    try:
        with show_progress(out) as shower, voice.lent(shower.say):

            def tell(report: "DownloadReport") -> None:
                nonlocal last
                last = report
                if not report.has_ended:
                    shower.show(moment_of(report))

            stored = attend(
                lambda cancel: here.download(order, tell=tell, cancel=cancel), say=voice
            )
    except KeyboardInterrupt:
        fetched = last.done_bytes if last else 0
        kept = f"{format_bytes(fetched)} are kept; " if fetched else ""
        out.say(f"{kept}llorch-pool models download {cell(order.model)} goes on from there")
        raise
    out.say(_greeting(stored, last))
    return stored


def _greeting(stored: "StoredModel", last: "DownloadReport | None") -> str:
    size = format_bytes(stored.size_bytes)
    if last is not None and last.fetched_bytes:
        note = f"; {last.note}" if last.note else ""
        fetched = f"{size}, {format_bytes(last.fetched_bytes)} fetched"
        return cell(f"{stored.id} is here ({fetched}){note}")
    if last is not None and last.note:
        return cell(f"{stored.id}: {last.note} ({size})")
    return cell(f"{stored.id} is here ({size}), nothing had to be fetched")


def _leave(reports: "list[DownloadReport]", out: Output) -> None:
    if out.shape is not Format.TABLE:
        _dump([report.model_dump(mode="json") for report in reports], out)
        return
    for report in reports:
        out.text(cell(f"{report.model} ({report.id}): {report.stage.value}"))
    out.say("pool-managerd goes on with it; llorch-pool models list shows how far it is")


def _dump(rows: list[dict[str, object]], out: Output) -> None:
    """For scripts: who names one model gets one object, who names several gets an array."""
    if len(rows) == 1:
        out.record(rows[0], ())
    else:
        out.rows(rows, ())
