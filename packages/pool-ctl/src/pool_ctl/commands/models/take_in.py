"""llorch-pool models import: takes files that lie on this host into the store."""

from pathlib import Path
from typing import Final

import click

from orchestrator_core.console.options import output_options, pool_url
from orchestrator_core.console.render import Output
from pool_ctl.commands.models.views import STORED_COLUMNS, stored_row
from pool_ctl.settings import CliSettings

__all__ = ["take_in"]

_EPILOG: Final = """\b
Examples:
  llorch-pool models import ./my-model.gguf --id my-model
  llorch-pool models import /mnt/models/big-00001-of-00003.gguf --method copy
  llorch-pool models import --hub-cache
"""


@click.command("import", short_help="Take a GGUF file of this host as a model.", epilog=_EPILOG)
@click.argument("path", metavar="[PATH]", required=False)
@click.option("--id", "model_id", metavar="ID", help="Its name from now on; else from the file's.")
@click.option(
    "--method",
    type=click.Choice(["auto", "hardlink", "reflink", "copy"]),
    default="auto",
    show_default=True,
    help="How the content comes into the store; auto takes the cheapest safe way.",
)
@click.option(
    "--hub-cache", is_flag=True, help="Take everything that lies whole in the Hugging Face cache."
)
@pool_url
@output_options
@click.pass_obj
def take_in(
    settings: CliSettings,
    *,
    path: str | None,
    model_id: str | None,
    method: str,
    hub_cache: bool,
    url: str | None,
    out: Output,
) -> None:
    """Take a GGUF file of this host as a model; PATH is the file, or the first of its parts.

    The file itself stays where it is. Importing the same file again changes nothing.
    """
    if bool(path) is hub_cache:
        raise click.UsageError("name a PATH, or take --hub-cache")
    if hub_cache and model_id is not None:
        raise click.UsageError("--id does not go with --hub-cache")
    from orchestrator_core.contracts.models import ImportOrder
    from pool_ctl.commands.models.attended import attend
    from pool_ctl.commands.models.orders import read_order
    from pool_ctl.commands.progress.moments import moment_of_file
    from pool_ctl.commands.progress.shown import show_progress
    from pool_ctl.commands.progress.voice import Voice
    from pool_ctl.pools.models.choice import open_models

    whole = str(Path(path).absolute()) if path else None
    typed = {"path": whole, "hub_cache": hub_cache, "id": model_id, "method": method}
    order = read_order(ImportOrder, typed)
    voice = Voice(out.say)
    with (
        open_models(settings, url, voice) as here,
        show_progress(out) as shower,
        voice.lent(shower.say),
    ):

        def tell(file: str, done_bytes: int, total_bytes: int) -> None:
            shower.show(moment_of_file("reading", file, done_bytes, total_bytes))

        stored = attend(lambda cancel: here.take_in(order, tell=tell, cancel=cancel), say=voice)
    rows = [stored_row(model) for model in stored]
    out.rows(rows, STORED_COLUMNS, empty="Nothing was found to take in.")
