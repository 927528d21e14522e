"""llorch keys list: the keys that work now, and on request those that do not."""

from typing import Final

import click

from llorch_ctl.settings import CliSettings
from orchestrator_core.console.options import orchestrator_url, output_options
from orchestrator_core.console.render import Column, Output, cell

__all__ = ["list_keys"]


def _all(value: object) -> str:
    return "all" if value is None else cell(value)


_COLUMNS: Final = (
    Column("id", "id"),
    Column("name", "name"),
    Column("status", "status"),
    Column("scopes", "scopes"),
    Column("models", "models", show=_all),
    Column("priority", "priority"),
    Column("weight", "weight", right=True),
    Column("requests_per_minute", "per minute", right=True),
    Column("concurrent_jobs", "at once", right=True),
    Column("expires_at", "expires"),
    Column("last_used_at", "last used"),
)


@click.command("list", short_help="List keys, never their text.", epilog="""\b
Examples:
  llorch keys list
  llorch keys list --all --format json
""")  # fmt: skip
@click.option("--all", "everything", is_flag=True, help="Revoked and expired ones too.")
@orchestrator_url
@output_options
@click.pass_obj
def list_keys(settings: CliSettings, *, everything: bool, url: str | None, out: Output) -> None:
    """List the keys that open something now, with their limits and when they were last used."""
    from llorch_ctl.commands.keys.states import key_status
    from llorch_ctl.home.connection import connect
    from orchestrator_core.clock import SystemClock

    with connect(settings, url) as client:
        items = client.keys().items
    now_ms = SystemClock().unix_ms()
    rows = [{**key.model_dump(mode="json"), "status": key_status(key, now_ms)} for key in items]
    shown = rows if everything else [row for row in rows if row["status"] == "active"]
    out.rows(shown, _COLUMNS, empty="no key works now")
    hidden = len(rows) - len(shown)
    if hidden:
        out.say(f"{hidden} revoked or expired; --all shows them too")
