"""llorch orchestrator backup and restore: the database as one file, out of and into its place."""

import sys
from pathlib import Path

import click

from llorch_ctl.settings import CliSettings
from orchestrator_core.console.options import output_options
from orchestrator_core.console.programs import ORCHESTRATORD
from orchestrator_core.console.render import Output

__all__ = ["backup", "may_ask", "restore"]


def may_ask() -> bool:
    """Whether somebody sits at a terminal."""
    return sys.stdin.isatty()


@click.command("backup", short_help="Copy jobs and keys into one file, while it runs.", epilog="""\b
Examples:
  llorch orchestrator backup
  llorch orchestrator backup /mnt/disk/orchestrator.db --force
""")  # fmt: skip
@click.argument("path", required=False, type=click.Path(path_type=Path, resolve_path=True))
@click.option("--force", "-f", is_flag=True, help="Replace a file that is there.")
@output_options
@click.pass_obj
def backup(settings: CliSettings, *, path: Path | None, force: bool, out: Output) -> None:
    """Copy the database of jobs, answers and keys into one file, whether orchestratord runs or not.

    Without PATH the file lies in the current folder and is called by the time. Whoever reads it
    reads every prompt and answer that is kept, so only this user may. Models and settings are not
    in it.
    """
    from llorch_ctl.home.acts import act
    from orchestrator_core.clock import SystemClock, rfc3339

    folder = Path.cwd() if path is None else path
    if path is None or path.is_dir():
        moment = rfc3339(SystemClock().unix_ms()).partition(".")[0]
        path = folder / f"orchestrator-{moment.replace('-', '').replace(':', '')}Z.db"
    act(settings, out, "backup", str(path), *(["--force"] if force else []))


@click.command("restore", short_help="Put a backup in the place of the database.", epilog="""\b
Example:
  llorch orchestrator stop && llorch orchestrator restore orchestrator-20260131T120000Z.db
""")  # fmt: skip
@click.argument("path", type=click.Path(exists=True, dir_okay=False, path_type=Path, resolve_path=True))  # fmt: skip
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@output_options
@click.pass_obj
def restore(settings: CliSettings, *, path: Path, yes: bool, out: Output) -> None:
    """Put a backup in the place of the database; orchestratord must be stopped.

    The database that was there is kept beside it. Jobs that had not ended when the backup was made
    run again after the next start, and keys that were revoked since then work again.
    """
    from llorch_ctl.home.acts import act, refuse_running

    refuse_running(settings, "a restore")
    if not yes:
        if not may_ask():
            raise click.UsageError("nobody can be asked here: --yes restores without asking")
        question = f"Replace {settings.layout.database} by this backup?"
        if not click.confirm(question, err=True):
            out.say("Nothing was changed.")
            return
    act(settings, out, "restore", str(path))
    out.say(f"start it again with: {ORCHESTRATORD.start_command}")
