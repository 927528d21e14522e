"""llorch-pool devices: what this host computes with; works without the daemon as well."""

from typing import TYPE_CHECKING

import click

from orchestrator_core.console.options import output_options, pool_url
from orchestrator_core.console.render import Output
from pool_ctl.commands.views import DEVICE_COLUMNS, device_row
from pool_ctl.settings import CliSettings

if TYPE_CHECKING:
    from orchestrator_core.contracts.pool import DeviceReport

__all__ = ["devices"]


@click.command(
    epilog="\b\nExamples:\n  llorch-pool devices\n  llorch-pool devices --format json",
)
@pool_url
@output_options
@click.pass_obj
def devices(settings: CliSettings, *, url: str | None, out: Output) -> None:
    """Show what this host computes with.

    Asks pool-managerd when it runs, else looks at the hardware directly.
    """
    found = _find(settings, url)
    out.rows([device_row(device) for device in found], DEVICE_COLUMNS, empty="No device was found.")


def _find(settings: CliSettings, url: str | None) -> "list[DeviceReport]":
    if settings.is_named(url) or settings.run_file() is not None:
        with settings.pool(url) as pool:
            return pool.devices()
    from pool_core.devices.inventory import probe_devices

    return probe_devices()
