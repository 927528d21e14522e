"""What start, stop, status and logs of a daemon say, and the exit codes they end with."""

from collections.abc import Mapping, Sequence
from typing import Final

from orchestrator_core.console.daemons import Daemons, Stopped
from orchestrator_core.console.endings import Ending
from orchestrator_core.console.logs import follow_lines, last_lines
from orchestrator_core.console.programs import DaemonProgram
from orchestrator_core.console.render import Column, Format, Output
from orchestrator_core.contracts.control import RunFile
from orchestrator_core.errors import Exit

__all__ = ["ENDING_COLUMNS", "ending_row", "report_logs", "report_start", "report_status", "report_stop"]  # fmt: skip

_COLUMNS: Final = tuple(
    Column(key, key.replace("_", " "))
    for key in ("name", "status", "url", "pid", "version", "instance", "log_file")
)
ENDING_COLUMNS: Final = (Column("name", "name"), Column("pid", "pid"), Column("ending", "ending"))


def report_start(
    out: Output,
    daemons: Daemons,
    program: DaemonProgram,
    *,
    args: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
) -> int:
    """Start a daemon; saying that it runs already is success."""
    running = daemons.start(program, args=args, env=env)
    run = running.run
    if out.shape is Format.TABLE:
        how = "is running" if running.fresh else "is already running"
        out.text(f"{program.name} {how} at {run.url} (pid {run.pid})")
    else:
        out.record(_row(run, "started" if running.fresh else "already_running"), _COLUMNS)
    return Exit.OK


def report_stop(out: Output, daemons: Daemons, program: DaemonProgram, *, grace_s: float) -> int:
    """Stop a daemon; saying that it does not run is success."""
    stopped = daemons.stop(program, grace_s=grace_s)
    if out.shape is not Format.TABLE:
        out.record(ending_row(stopped), ENDING_COLUMNS)
    elif stopped.ending is Ending.NOT_RUNNING:
        out.text(f"{program.name} is not running")
    elif stopped.ending is Ending.KILLED:
        out.text(f"{program.name} (pid {stopped.pid}) was killed: it did not end in {grace_s:g} s")
    else:
        out.text(f"{program.name} (pid {stopped.pid}) has stopped")
    return Exit.OK


def report_status(out: Output, daemons: Daemons, program: DaemonProgram) -> int:
    """Show a daemon; the exit code alone tells a script whether it runs."""
    run = daemons.running(program)
    if run is None:
        out.record({"name": program.name, "status": "stopped"}, _COLUMNS)
        out.say(f"start it with: {program.start_command}")
        return Exit.UNREACHABLE
    out.record(_row(run, "running"), _COLUMNS)
    return Exit.OK


def report_logs(
    out: Output, daemons: Daemons, program: DaemonProgram, *, lines: int, follow: bool
) -> int:
    """Show the end of a daemon's log, and what is added to it if asked."""
    path = daemons.layout.log_file(program.name)
    if not path.exists():
        out.say(f"{program.name} has not written {path} yet")
    for line in follow_lines(path, lines) if follow else last_lines(path, lines):
        out.text(line)
    return Exit.OK


def ending_row(stopped: Stopped) -> dict[str, object]:
    """One stopped process as data."""
    return {"name": stopped.name, "pid": stopped.pid, "ending": stopped.ending.value}


def _row(run: RunFile, status: str) -> dict[str, object]:
    row = run.model_dump(mode="json", include={"url", "pid", "version", "instance", "log_file"})
    return {"name": run.daemon, "status": status, **row}
