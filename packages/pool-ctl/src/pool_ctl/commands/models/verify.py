"""llorch-pool models verify: reads every byte again and ends with 1 when one is not as it was."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import click

from orchestrator_core.console.options import output_options, pool_url
from orchestrator_core.console.render import Format, Output, cell
from orchestrator_core.errors import Exit
from pool_ctl.commands.live_names import MODELS
from pool_ctl.commands.models.views import FILE_COLUMNS, file_rows
from pool_ctl.settings import CliSettings

if TYPE_CHECKING:
    from orchestrator_core.contracts.models import VerifyReport

__all__ = ["verify"]

_EPILOG: Final = """\b
Examples:
  llorch-pool models verify tinyllama
  llorch-pool models verify
  llorch-pool models verify --format json
"""
_REMEDIES: Final = {
    "hub": "llorch-pool models download {id} --force fetches it anew",
    "file": "llorch-pool models delete {id}, and then import it again",
    "builtin": "install llorch-pool-core anew",
}


@click.command(
    "verify", short_help="Read every byte of models again (exit code 0 or 1).", epilog=_EPILOG
)
@click.argument("name", metavar="[M]", required=False, shell_complete=MODELS)
@pool_url
@output_options
@click.pass_obj
def verify(settings: CliSettings, *, name: str | None, url: str | None, out: Output) -> int:
    """Read every byte of a model again, or of all models without M.

    Exit code 0: every file is what it was when it was fetched; 1: one is missing or damaged.
    """
    from orchestrator_core.contracts.models import VerifyOrder
    from pool_ctl.commands.models.attended import attend
    from pool_ctl.commands.models.orders import read_order
    from pool_ctl.commands.progress.moments import moment_of_file
    from pool_ctl.commands.progress.shown import show_progress
    from pool_ctl.commands.progress.voice import Voice
    from pool_ctl.pools.models.choice import open_models

    order = read_order(VerifyOrder, {"model": name})
    voice = Voice(out.say)
    with (
        open_models(settings, url, voice) as here,
        show_progress(out) as shower,
        voice.lent(shower.say),
    ):

        def tell(file: str, done_bytes: int, total_bytes: int) -> None:
            shower.show(moment_of_file("reading", file, done_bytes, total_bytes))

        # Asked before, because a damaged model is not one that is here.
        sources = {model.id: model.source for model in here.models()}
        reports = attend(lambda cancel: here.verify(order, tell=tell, cancel=cancel), say=voice)
    return _show(reports, sources, out)


def _show(reports: "list[VerifyReport]", sources: Mapping[str, str], out: Output) -> int:
    if out.shape is Format.TABLE:
        rows = [row for report in reports for row in file_rows(report)]
        out.rows(rows, FILE_COLUMNS, empty="There is nothing to verify.")
    else:
        out.rows([report.model_dump(mode="json") for report in reports], ())
    bad = [report for report in reports if not report.ok]
    for report in bad:
        remedy = _REMEDIES[sources.get(report.id, "hub")].format(id=report.id)
        out.warn(cell(f"{report.id} is not what it should be: {remedy}"))
    return Exit.FAILURE if bad else Exit.OK
