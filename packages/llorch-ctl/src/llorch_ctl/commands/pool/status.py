"""llorch pool status: every host as the orchestrator sees it; with --host as it sees itself."""

from typing import TYPE_CHECKING, Final, cast

import click

from llorch_ctl.commands.pool.host_verb import VerbOrHere
from llorch_ctl.settings import CliSettings
from orchestrator_core.console.options import orchestrator_url, output_options
from orchestrator_core.console.render import Column, Format, Output
from orchestrator_core.console.watching import Watch, watch_option
from orchestrator_core.units import format_bytes, format_duration

if TYPE_CHECKING:
    from orchestrator_core.contracts.control import PoolView

__all__ = ["status"]


def _bytes(value: object) -> str:
    return format_bytes(value) if isinstance(value, int) else "-"


def _ago(value: object) -> str:
    return f"{format_duration(float(value))} ago" if isinstance(value, int | float) else "-"


_POOLS: Final = (
    Column("pool_id", "pool"),
    Column("status", "status"),
    Column("endpoint", "endpoint"),
    Column("version", "version"),
    Column("last_seen_s", "last seen", show=_ago),
)
_DEVICES: Final = (
    Column("pool_id", "pool"),
    Column("id", "device"),
    Column("name", "name"),
    Column("backends", "backends"),
    Column("memory_free_bytes", "free", right=True, show=_bytes),
    Column("memory_total_bytes", "total", right=True, show=_bytes),
)
_WORKERS: Final = (
    Column("pool_id", "pool"),
    Column("id", "worker"),
    Column("name", "name"),
    Column("model", "model"),
    Column("backend", "backend"),
    Column("status", "status"),
    Column("slots_busy", "busy", right=True),
    Column("slots_total", "slots", right=True),
    Column("port", "port", right=True),
    Column("pid", "pid", right=True),
    Column("error_message", "error"),
)


@click.command(
    cls=VerbOrHere,
    short_help="Show pools, devices and workers.",
    epilog="""\b
Examples:
  llorch pool status
  llorch pool status --format json
  llorch pool status --watch
  llorch pool status --host mac
""",
)
@orchestrator_url
@output_options
@watch_option
@click.pass_obj
def status(settings: CliSettings, *, url: str | None, out: Output, watch: Watch) -> int:
    """Show every pool (one host is one pool) with its devices and workers.

    With --host the host itself is asked, as by llorch-pool status there.
    """
    from llorch_ctl.home.connection import connect

    with connect(settings, url) as client:
        return watch.run(
            lambda: [_row(view) for view in client.pools().items], lambda rows: _show(rows, out)
        )


def _show(rows: "list[dict[str, object]]", out: Output) -> None:
    out.rows(rows, _POOLS, empty="no pool has registered yet")
    if out.shape is not Format.TABLE:
        return
    for key, columns in (("devices", _DEVICES), ("workers", _WORKERS)):
        parts = [
            {"pool_id": row["pool_id"], **part}
            for row in rows
            for part in cast("list[dict[str, object]]", row[key])
        ]
        if parts:
            out.text("")
            out.rows(parts, columns)


def _row(view: "PoolView") -> dict[str, object]:
    # A worker's key is for the orchestrator alone, should it ever be told to us.
    return view.model_dump(mode="json", exclude={"workers": {"__all__": {"key"}}})
