"""llorch-pool status: the pool of this host at a glance, whether or not its daemon runs."""

from typing import TYPE_CHECKING, Final

import click

from orchestrator_core.console.options import output_options, pool_url
from orchestrator_core.console.render import Column, Format, Output
from pool_ctl.commands.views import (
    STATUS_DEVICE_COLUMNS,
    WORKER_COLUMNS,
    device_row,
    worker_row,
)
from pool_ctl.settings import CliSettings

if TYPE_CHECKING:
    from orchestrator_core.contracts.pool import PoolStatusView

__all__ = ["status"]

_COLUMNS: Final = (
    Column("pool_id", "Pool"),
    Column("version", "Version"),
    Column("daemon", "Daemon"),
    Column("orchestrator", "Orchestrator"),
    Column("draining", "Draining"),
    Column("models", "Models"),
)
_NO_DAEMON: Final = "not running; llorch-pool daemon start starts it"


@click.command(epilog="\b\nExample:\n  llorch-pool status --format yaml")
@pool_url
@output_options
@click.pass_obj
def status(settings: CliSettings, *, url: str | None, out: Output) -> None:
    """Show this host's pool at a glance.

    Without pool-managerd the command looks at devices and workers itself.
    """
    from pool_ctl.pools.choice import open_pool

    with open_pool(settings, url, out.say) as pool:
        view = pool.status()
        daemon_url = pool.daemon_url
    workers = [worker_row(worker) for worker in view.workers]
    if out.shape is not Format.TABLE:
        facts = {"daemon_url": daemon_url, "workers": workers}
        out.record({**view.model_dump(mode="json"), **facts}, ())
        return
    out.record(_facts(view, daemon_url), _COLUMNS)
    out.text("")
    devices = [device_row(device) for device in view.devices]
    out.rows(devices, STATUS_DEVICE_COLUMNS, empty="No device was found.")
    out.text("")
    out.rows(workers, WORKER_COLUMNS, empty="There are no workers.")


def _facts(view: "PoolStatusView", daemon_url: str | None) -> dict[str, object]:
    link = "none: this pool works alone"
    if view.orchestrator_url:
        word = "connected" if view.orchestrator_connected else "not connected"
        link = f"{view.orchestrator_url} ({word})"
    return {
        "pool_id": view.pool_id,
        "version": view.version,
        "daemon": f"running at {daemon_url}" if daemon_url else _NO_DAEMON,
        "orchestrator": link,
        "draining": "yes: no worker is started here for the orchestrator"
        if view.draining
        else None,
        "models": [model.id for model in view.models],
    }
