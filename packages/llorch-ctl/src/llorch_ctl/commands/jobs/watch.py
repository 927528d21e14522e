"""llorch jobs watch: a job that somebody handed in, from any of its events on."""

from typing import Final

import click

from llorch_ctl.commands.jobs.identifiers import JobId
from llorch_ctl.settings import CliSettings
from orchestrator_core.console.options import Seconds, orchestrator_url, output_options
from orchestrator_core.console.render import Format, Output

__all__ = ["watch"]

_EPILOG: Final = """\b
Examples:
  llorch jobs watch job_01j9z3ntk8e1w0v5c6x7y8z9ab
  llorch jobs watch job_01j9z3ntk8e1w0v5c6x7y8z9ab --after 12
  llorch jobs watch job_01j9z3ntk8e1w0v5c6x7y8z9ab --format json | tail -n 1
"""


@click.command("watch", short_help="Follow a job's answer from any place.", epilog=_EPILOG)
@click.argument("job_id", metavar="ID", type=JobId())
@click.option(
    "--after",
    type=click.IntRange(min=0, max=10**17),
    default=0,
    show_default=True,
    help="Go on behind this event; 0 begins with the first.",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=Seconds(min=0, min_open=True),
    metavar="SECONDS",
    help="Leave after so long with exit code 124.",
)
@orchestrator_url
@output_options
@click.pass_obj
def watch(
    settings: CliSettings,
    *,
    job_id: str,
    after: int,
    timeout_s: float | None,
    url: str | None,
    out: Output,
) -> int:
    """Print the answer of a job as it is made, or again when it has ended.

    With --format json every event is one line with its id, which --after takes. Watching changes
    nothing, and Ctrl-C and a closed pipe leave the job alone, unless it was handed in with
    --cancel-on-disconnect. The exit code is that of the job's end.
    """
    from llorch_ctl.commands.jobs.following import Follower, attend
    from llorch_ctl.commands.jobs.views import EventLines, TextView
    from llorch_ctl.home.connection import connect

    view = TextView(out) if out.shape is Format.TABLE else EventLines(out)
    with connect(settings, url) as client:
        # What no patience cures is told at once: no daemon, a wrong key, an unknown job.
        client.job(job_id)
        follower = Follower(client, job_id, out, view, after=after)

        def leave() -> None:
            out.say("")
            out.say(f"no longer watching {job_id}; go on with: {follower.watch_command}")

        return attend(follower, out, timeout_s=timeout_s, on_interrupt=leave, stays=None)
