"""llorch-pool daemon: start, stop and watch pool-managerd on this host."""

from pathlib import Path

import click

from orchestrator_core.console.lazy_group import LazyGroup
from orchestrator_core.console.options import Seconds, output_options
from orchestrator_core.console.programs import POOL_MANAGERD
from orchestrator_core.console.render import Format, Output
from orchestrator_core.errors import Exit
from pool_ctl.commands.draining import drain, resume
from pool_ctl.commands.joining import join, leave
from pool_ctl.commands.service import install_service
from pool_ctl.settings import CliSettings

__all__ = ["daemon", "logs", "start", "status", "stop"]


@click.command(
    short_help="Start pool-managerd in the background.",
    epilog="""\b
Examples:
  llorch-pool daemon start
  llorch-pool daemon start --bind 127.0.0.1:9300
  llorch-pool daemon start --config ./pool.toml
""",
)
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, resolve_path=True, path_type=Path),
    metavar="PATH",
    help="Settings file instead of config/pool.toml.",
)
@click.option("--bind", metavar="HOST:PORT", help="Address to listen on; port 0 takes any free.")
@output_options
@click.pass_obj
def start(settings: CliSettings, *, config: Path | None, bind: str | None, out: Output) -> int:
    """Start pool-managerd and return once it answers.

    Workers that an earlier pool-managerd left running are taken over. Every other setting comes
    from the settings file and from LLORCH_POOL_* variables.
    """
    from orchestrator_core.console.daemon_reports import report_start

    args = ["--config", str(config)] if config else []
    args += ["--bind", bind] if bind else []
    return report_start(out, settings.daemons(), POOL_MANAGERD, args=args)


@click.command(
    short_help="Stop pool-managerd; workers run on unless --workers is given.",
    epilog="\b\nExamples:\n  llorch-pool daemon stop\n  llorch-pool daemon stop --workers",
)
@click.option("--workers", is_flag=True, help="Stop the workers of this host as well.")
@click.option(
    "--grace",
    "grace_s",
    type=Seconds(min=0),
    default=20.0,
    show_default=True,
    metavar="SECONDS",
    help="Time between TERM and KILL.",
)
@output_options
@click.pass_obj
def stop(settings: CliSettings, *, workers: bool, grace_s: float, out: Output) -> int:
    """Stop pool-managerd.

    Its workers run on, so that a restart interrupts nobody; --workers stops them too, also those
    that an earlier stop left running. One that cannot be proven to be ours is left alone: exit
    code 1.
    """
    from orchestrator_core.console.daemon_reports import ENDING_COLUMNS, ending_row, report_stop
    from pool_ctl.commands.leftovers import count_workers, stop_workers

    daemons = settings.daemons()
    if out.shape is Format.TABLE:
        report_stop(out, daemons, POOL_MANAGERD, grace_s=grace_s)
        row: dict[str, object] = {}
    else:
        row = ending_row(daemons.stop(POOL_MANAGERD, grace_s=grace_s))
    stopped = stop_workers(settings, out.say) if workers else 0
    left = count_workers(settings)
    if out.shape is not Format.TABLE:
        out.record({**row, "workers_stopped": stopped, "workers_left": left}, ENDING_COLUMNS)
    elif workers:
        out.text(f"{_count(stopped)} stopped")
    elif left:
        out.text(f"{_count(left)} left running; llorch-pool daemon stop --workers stops them")
    if workers and left:
        out.warn(f"{_count(left)} left running; llorch-pool worker list says why")
        return Exit.FAILURE
    return Exit.OK


@click.command(
    short_help="Tell whether pool-managerd runs (exit code 0 or 5).",
    epilog="\b\nExample:\n  llorch-pool daemon status --format json",
)
@output_options
@click.pass_obj
def status(settings: CliSettings, *, out: Output) -> int:
    """Show address, process and log of pool-managerd. Exit code 0: it runs; 5: it does not."""
    from orchestrator_core.console.daemon_reports import report_status

    return report_status(out, settings.daemons(), POOL_MANAGERD)


@click.command(
    short_help="Show the log of pool-managerd.",
    epilog="\b\nExamples:\n  llorch-pool daemon logs -n 200\n  llorch-pool daemon logs --follow",
)
@click.option(
    "--lines",
    "-n",
    type=click.IntRange(min=0),
    default=50,
    show_default=True,
    metavar="N",
    help="How many lines from the end.",
)
@click.option("--follow", "-f", is_flag=True, help="Go on with what is added, until Ctrl-C.")
@output_options
@click.pass_obj
def logs(settings: CliSettings, *, lines: int, follow: bool, out: Output) -> int:
    """Show the end of pool-managerd's log, one JSON object a line."""
    from orchestrator_core.console.daemon_reports import report_logs

    return report_logs(out, settings.daemons(), POOL_MANAGERD, lines=lines, follow=follow)


daemon = LazyGroup(
    "daemon",
    commands=[start, stop, status, logs, join, leave, drain, resume, install_service],
    help="Start, stop and watch pool-managerd on this host.\n\n"
    "pool-managerd watches over this host's devices and runs its workers.",
)


def _count(workers: int) -> str:
    return "1 worker" if workers == 1 else f"{workers} workers"
