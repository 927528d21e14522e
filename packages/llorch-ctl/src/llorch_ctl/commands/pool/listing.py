"""llorch pool list: one line per pool, whether it is heard of or only enrolled."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, cast

import click

from llorch_ctl.settings import CliSettings
from orchestrator_core.console.options import orchestrator_url, output_options
from orchestrator_core.console.render import Column, Format, Output
from orchestrator_core.console.watching import Watch, watch_option
from orchestrator_core.units import format_bytes, format_duration

if TYPE_CHECKING:
    from orchestrator_core.clients.orchestrator import OrchestratorClient

__all__ = ["list_pools", "pool_line"]

_SECRETS: Final = {"workers": {"__all__": {"key"}}}
_SHOWN_DEVICES: Final = 3


def _ago(value: object) -> str:
    return f"{format_duration(float(value))} ago" if isinstance(value, int | float) else "never"


_COLUMNS: Final = (
    Column("pool_id", "pool"),
    Column("status", "status"),
    Column("road", "road"),
    Column("devices", "devices"),
    Column("workers", "workers", right=True),
    Column("version", "version"),
    Column("last_seen_s", "last seen", show=_ago),
    Column("reason", "what to do"),
)


@click.command("list", short_help="List the pools of the cluster.", epilog="""\b
Examples:
  llorch pool list
  llorch pool list --watch
  llorch pool list --format json | python3 -c 'import json,sys; print(len(json.load(sys.stdin)))'
""")  # fmt: skip
@orchestrator_url
@output_options
@watch_option
@click.pass_obj
def list_pools(settings: CliSettings, *, url: str | None, out: Output, watch: Watch) -> int:
    """List every pool: its state, how the orchestrator reaches it, and what it has.

    One host is one pool. --format json is an array of pools with all their devices and workers.
    """
    from llorch_ctl.home.connection import connect

    with connect(settings, url) as client:
        return watch.run(lambda: _look(client), lambda rows: _show(rows, out))


def pool_line(row: Mapping[str, object]) -> dict[str, object]:
    """A pool as one line: devices and workers are counted."""
    devices = cast("Sequence[Mapping[str, object]]", row["devices"] or ())
    workers = cast("Sequence[Mapping[str, object]]", row["workers"] or ())
    ready = sum(worker.get("status") in ("ready", "busy") for worker in workers)
    counted = f"{ready}/{len(workers)} ready" if workers else "0"
    return {**row, "devices": _summary(devices), "workers": counted}


def _look(client: "OrchestratorClient") -> list[dict[str, object]]:
    # A worker's key is for the orchestrator alone, should it ever be told to us.
    return [view.model_dump(mode="json", exclude=_SECRETS) for view in client.pools().items]


def _show(rows: Sequence[Mapping[str, object]], out: Output) -> None:
    shown = [pool_line(row) for row in rows] if out.shape is Format.TABLE else rows
    columns = [it for it in _COLUMNS if it.key not in ("road", "reason") or _any(rows, it.key)]
    out.rows(shown, columns, empty="no pool has registered yet")


def _any(rows: Sequence[Mapping[str, object]], key: str) -> bool:
    return any(row.get(key) for row in rows)


def _summary(devices: Sequence[Mapping[str, object]]) -> str:
    # Where something better is there, nobody asks what the processor has.
    best = [it for it in devices if it.get("kind") != "cpu"] or devices
    told: dict[str, int] = {}
    for device in best:
        size = device.get("memory_total_bytes")
        memory = f" {format_bytes(size)}" if isinstance(size, int) else ""
        name = f"{device.get('name') or device.get('id')}{memory}"
        told[name] = told.get(name, 0) + 1
    words = [f"{count} x {name}" if count > 1 else name for name, count in told.items()]
    more = len(words) - _SHOWN_DEVICES
    return ", ".join(words[:_SHOWN_DEVICES]) + (f" and {more} more" if more > 0 else "")
