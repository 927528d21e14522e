"""llorch orchestrator: the life of orchestratord on this machine, and of its data."""

from pathlib import Path

import click

from llorch_ctl.commands.backups import backup, restore
from llorch_ctl.settings import CliSettings
from orchestrator_core.console.lazy_group import LazyGroup
from orchestrator_core.console.options import Seconds, output_options
from orchestrator_core.console.programs import ORCHESTRATORD
from orchestrator_core.console.render import Output

__all__ = ["logs", "orchestrator", "start", "status", "stop"]


@click.command(
    short_help="Start orchestratord in the background.",
    epilog="""\b
Examples:
  llorch orchestrator start
  llorch orchestrator start --bind 127.0.0.1:9000
  llorch orchestrator start --config ./orchestrator.toml
""",
)
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, resolve_path=True, path_type=Path),
    help="Settings file instead of config/orchestrator.toml.",
)
@click.option("--bind", metavar="HOST:PORT", help="Address to listen on; port 0 takes any free.")
@output_options
@click.pass_obj
def start(settings: CliSettings, *, config: Path | None, bind: str | None, out: Output) -> int:
    """Start orchestratord and return once it answers."""
    from llorch_ctl.home.connection import local_daemons
    from orchestrator_core.console.daemon_reports import report_start

    args = ["--config", str(config)] if config else []
    args += ["--bind", bind] if bind else []
    return report_start(out, local_daemons(settings), ORCHESTRATORD, args=args)


@click.command(short_help="Stop orchestratord; workers run on.")
@click.option(
    "--grace",
    "grace_s",
    type=Seconds(min=0),
    default=20.0,
    show_default=True,
    help="Seconds between TERM and KILL.",
)
@output_options
@click.pass_obj
def stop(settings: CliSettings, *, grace_s: float, out: Output) -> int:
    """Stop orchestratord. Jobs stay on disk and go on after the next start."""
    from llorch_ctl.home.connection import local_daemons
    from orchestrator_core.console.daemon_reports import report_stop

    return report_stop(out, local_daemons(settings), ORCHESTRATORD, grace_s=grace_s)


@click.command(short_help="Tell whether orchestratord runs (exit code 0 or 5).")
@output_options
@click.pass_obj
def status(settings: CliSettings, *, out: Output) -> int:
    """Show address, process and log of orchestratord. Exit code 0: it runs; 5: it does not."""
    from llorch_ctl.home.connection import local_daemons
    from orchestrator_core.console.daemon_reports import report_status

    return report_status(out, local_daemons(settings), ORCHESTRATORD)


@click.command(
    short_help="Show the log of orchestratord.",
    epilog="""\b
Examples:
  llorch orchestrator logs -n 200
  llorch orchestrator logs --follow
""",
)
@click.option(
    "--lines",
    "-n",
    type=click.IntRange(min=0),
    default=50,
    show_default=True,
    help="How many lines from the end.",
)
@click.option("--follow", "-f", is_flag=True, help="Go on with what is added, until Ctrl-C.")
@click.pass_obj
def logs(settings: CliSettings, *, lines: int, follow: bool) -> int:
    """Show the end of orchestratord's log."""
    from llorch_ctl.home.connection import local_daemons
    from orchestrator_core.console.daemon_reports import report_logs

    daemons = local_daemons(settings)
    return report_logs(Output(), daemons, ORCHESTRATORD, lines=lines, follow=follow)


orchestrator = LazyGroup(
    "orchestrator",
    commands=[start, stop, status, logs, backup, restore],
    help="Start, stop, watch and back up orchestratord on this machine.\n\n"
    "`llorch up` starts it together with the pool of this machine.",
)
