"""llorch-pool models: what lies on this host, what is known, and what it takes up."""

from typing import Final

import click

from orchestrator_core.console.lazy_group import Lazy, LazyGroup
from orchestrator_core.console.options import output_options, pool_url
from orchestrator_core.console.render import Format, Output
from pool_ctl.commands.models.views import (
    CATALOG_COLUMNS,
    STORED_COLUMNS,
    USAGE_COLUMNS,
    catalog_row,
    download_line,
    stored_row,
    usage_row,
)
from pool_ctl.settings import CliSettings

__all__ = ["catalog", "disk_usage", "list_models", "models"]

_HELP: Final = """Find, fetch, verify and delete models.

A model is named by an id of the catalogue, or as hf:ORG/REPO:QUANT. Everything works with
pool-managerd and without it. Models lie in data/models, or where models_folder of config/pool.toml
says.
"""

_NONE_HERE: Final = (
    "There are no models: llorch-pool models catalog shows what is known, "
    "llorch-pool models download M brings one"
)


@click.command("catalog", short_help="Show every model that is known by name.", epilog="""\b
Examples:
  llorch-pool models catalog
  llorch-pool models catalog --format json
""")  # fmt: skip
@pool_url
@output_options
@click.pass_obj
def catalog(settings: CliSettings, *, url: str | None, out: Output) -> None:
    """Show every model that is known by name, and whether it is here.

    Models of your own stand in config/catalog.toml, in [[models]] tables like the packaged ones.
    Any other GGUF model of a hub is named hf:ORG/REPO:QUANT.
    """
    from pool_ctl.pools.models.choice import open_models

    with open_models(settings, url, out.say) as here:
        items = here.catalog()
    out.rows(
        [catalog_row(item) for item in items], CATALOG_COLUMNS, empty="The catalogue is empty."
    )


@click.command("list", short_help="List the models that lie on this host.", epilog="""\b
Examples:
  llorch-pool models list
  llorch-pool models list --format json
""")  # fmt: skip
@pool_url
@output_options
@click.pass_obj
def list_models(settings: CliSettings, *, url: str | None, out: Output) -> None:
    """List the models that lie on this host whole.

    Downloads that pool-managerd carries out now are told below.
    """
    from pool_ctl.pools.models.choice import open_models

    with open_models(settings, url, out.say) as here:
        items = here.models()
        running = here.downloads() if out.shape is Format.TABLE else []
    out.rows([stored_row(item) for item in items], STORED_COLUMNS, empty=_NONE_HERE)
    for report in running:
        out.say(download_line(report))


@click.command("disk-usage", short_help="Show what the models take up.", epilog="""\b
Examples:
  llorch-pool models disk-usage
  llorch-pool models disk-usage --format json
""")  # fmt: skip
@pool_url
@output_options
@click.pass_obj
def disk_usage(settings: CliSettings, *, url: str | None, out: Output) -> None:
    """Show what each model and all of them take up, and what is free.

    What is shared lies elsewhere under another name as well, so that deleting it frees nothing.
    """
    from pool_ctl.pools.models.choice import open_models

    with open_models(settings, url, out.say) as here:
        usage = here.usage()
    if out.shape is not Format.TABLE:
        out.record(usage.model_dump(mode="json"), ())
        return
    out.rows([stored_row(item) for item in usage.models], STORED_COLUMNS, empty=_NONE_HERE)
    if usage.models:
        out.text("")
    out.record(usage_row(usage), USAGE_COLUMNS)
    if usage.partial_bytes or usage.orphan_bytes:
        out.say("llorch-pool models delete --unused-for 7d also clears what belongs to no model")


models = LazyGroup(
    "models",
    commands=[catalog, list_models, disk_usage],
    lazy={
        "download": Lazy(
            "pool_ctl.commands.models.download:download", "Bring models to this host."
        ),
        "info": Lazy(
            "pool_ctl.commands.models.info:info",
            "Show what a model is, and whether it fits on this host.",
        ),
        "verify": Lazy(
            "pool_ctl.commands.models.verify:verify",
            "Read every byte of models again (exit code 0 or 1).",
        ),
        "delete": Lazy(
            "pool_ctl.commands.models.delete:delete", "Delete a model, or what is long unused."
        ),
        "import": Lazy(
            "pool_ctl.commands.models.take_in:take_in", "Take a GGUF file of this host as a model."
        ),
    },
    help=_HELP,
)
