"""llorch up and llorch down: one machine as a cluster of its own."""

import click

from llorch_ctl.settings import CliSettings
from orchestrator_core.console.options import output_options
from orchestrator_core.console.render import Column, Format, Output

__all__ = ["down", "up"]


@click.command(
    short_help="Start everything on this machine and print its key.",
    epilog="""\b
Examples:
  llorch up
  llorch up --format json | python3 -c 'import json,sys; print(json.load(sys.stdin)["key"])'
  LLORCH_ORCHESTRATOR_BIND=127.0.0.1:0 LLORCH_POOL_BIND=127.0.0.1:0 llorch up
""",
)
@output_options
@click.pass_obj
def up(settings: CliSettings, *, out: Output) -> None:
    """Start the orchestrator and the pool of this machine and print how to reach them.

    Both listen on loopback only. When they run already, the same is printed again.
    """
    from llorch_ctl.home.connection import local_daemons
    from llorch_ctl.home.lifecycle import bring_up

    view = bring_up(settings, local_daemons(settings), out.say)
    row: dict[str, object] = {
        "status": "started" if view.fresh else "already_running",
        "url": view.url,
        "api_base": view.api_base,
        "key": view.key,
        "pool": view.pool_id,
        "stop": "llorch down",
    }
    if out.shape is Format.TABLE:
        out.text("llama-orch is running" if view.fresh else "llama-orch is already running")
    titles = (("url", "web"), ("api_base", "api"), ("key", "key"), ("stop", "stop"))
    out.record(row, [Column(key, f"  {title}") for key, title in titles])


@click.command(
    short_help="Stop everything on this machine.",
    epilog="""\b
Examples:
  llorch down
  llorch down --format json
""",
)
@output_options
@click.pass_obj
def down(settings: CliSettings, *, out: Output) -> None:
    """Stop the pool with its workers and the orchestrator, and print what was stopped.

    Waiting jobs stay on disk and go on after the next start. Stopping twice is no mistake.
    """
    from llorch_ctl.home.connection import local_daemons
    from llorch_ctl.home.lifecycle import bring_down
    from orchestrator_core.console.daemon_reports import ENDING_COLUMNS, ending_row

    ended = bring_down(local_daemons(settings))
    out.rows([ending_row(one) for one in ended], ENDING_COLUMNS, empty="nothing is running")
