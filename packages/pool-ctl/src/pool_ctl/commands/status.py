"""llorch-pool status: the pool of this host at a glance."""

import click

from orchestrator_core.console.options import output_options, pool_url
from orchestrator_core.console.render import Column, Format, Output
from pool_ctl.commands.views import WORKER_COLUMNS, worker_row
from pool_ctl.settings import CliSettings

__all__ = ["status"]

_COLUMNS = (
    Column("pool_id", "Pool"),
    Column("version", "Version"),
    Column("orchestrator", "Orchestrator"),
    Column("devices", "Devices"),
    Column("models", "Models"),
)


@click.command(epilog="\b\nExample:\n  llorch-pool status --format yaml")
@pool_url
@output_options
@click.pass_obj
def status(settings: CliSettings, *, url: str | None, out: Output) -> None:
    """Show this host's pool at a glance."""
    with settings.pool(url) as pool:
        view = pool.status()
    if out.shape is not Format.TABLE:
        rows = [worker_row(worker) for worker in view.workers]
        out.record({**view.model_dump(mode="json"), "workers": rows}, ())
        return
    link = "none: this pool works alone"
    if view.orchestrator_url:
        link = f"{view.orchestrator_url} ({_link_word(connected=view.orchestrator_connected)})"
    facts = {
        "pool_id": view.pool_id,
        "version": view.version,
        "orchestrator": link,
        "devices": [device.name for device in view.devices],
        "models": [model.id for model in view.models],
    }
    out.record(facts, _COLUMNS)
    out.text("")
    out.rows([worker_row(it) for it in view.workers], WORKER_COLUMNS, empty="There are no workers.")


def _link_word(*, connected: bool) -> str:
    return "connected" if connected else "not connected"
