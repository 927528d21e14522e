"""llorch-pool devices: what this host computes with; works without the daemon as well."""

import click

from orchestrator_core.console.options import output_options, pool_url
from orchestrator_core.console.render import Output
from pool_ctl.commands.views import DEVICE_COLUMNS, device_row
from pool_ctl.settings import CliSettings

__all__ = ["devices"]


@click.command(
    epilog="\b\nExamples:\n  llorch-pool devices\n  llorch-pool devices --format json",
)
@pool_url
@output_options
@click.pass_obj
def devices(settings: CliSettings, *, url: str | None, out: Output) -> None:
    """Show what this host computes with.

    Asks pool-managerd when it runs, else looks at the hardware directly. Every fact that a device
    tells is shown by --format json.
    """
    from pool_ctl.pools.choice import open_pool

    with open_pool(settings, url, out.say) as pool:
        found = pool.devices()
    out.rows([device_row(device) for device in found], DEVICE_COLUMNS, empty="No device was found.")
