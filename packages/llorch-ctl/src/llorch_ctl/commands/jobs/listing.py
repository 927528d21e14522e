"""llorch jobs list: jobs page by page, so that ten thousand begin to show at once."""

from collections.abc import Iterator
from typing import Final

import click

from llorch_ctl.commands.jobs.words import PRIORITIES, STATUSES
from llorch_ctl.commands.live_names import MODELS
from llorch_ctl.settings import CliSettings
from orchestrator_core.console.options import orchestrator_url, output_options
from orchestrator_core.console.render import Column, Output
from orchestrator_core.console.watching import Watch, watch_option
from orchestrator_core.errors import Exit

__all__ = ["list_jobs"]

_COLUMNS: Final = (
    Column("id", "id"),
    Column("status", "status"),
    Column("model", "model"),
    Column("priority", "priority"),
    Column("created_at", "created"),
    Column("attempt", "attempt", right=True),
    Column("tokens_out", "tokens", right=True),
    Column("error_code", "error"),
)


@click.command("list", short_help="List jobs, newest first.", epilog="""\b
Examples:
  llorch jobs list --status queued --limit 10
  llorch jobs list --all --priority batch
  llorch jobs list --status running --every 5
  llorch jobs list --all --format json | python3 -c 'import json,sys; print(len(json.load(sys.stdin)))'
""")  # fmt: skip
@click.option("--status", "state", type=click.Choice(STATUSES), help="Only jobs in this state.")
@click.option("--model", "-m", shell_complete=MODELS, help="Only jobs for this model.")
@click.option("--priority", type=click.Choice(PRIORITIES), help="Only jobs of this class.")
@click.option(
    "--limit",
    type=click.IntRange(1, 1_000_000),
    default=50,
    show_default=True,
    help="How many jobs at most.",
)
@click.option("--all", "everything", is_flag=True, help="All jobs, whatever --limit says.")
@orchestrator_url
@output_options
@watch_option
@click.pass_obj
def list_jobs(
    settings: CliSettings,
    *,
    state: str | None,
    model: str | None,
    priority: str | None,
    limit: int,
    everything: bool,
    url: str | None,
    out: Output,
    watch: Watch,
) -> int:
    """List jobs, newest first.

    With --format json it is an array of objects, each with its id. A user's key sees the jobs that
    were handed in with it, an operator's key sees all.
    """
    from llorch_ctl.home.connection import connect

    more = False
    with connect(settings, url) as client:

        def pages() -> Iterator[list[dict[str, object]]]:
            nonlocal more
            left = None if everything else limit
            for page in client.job_pages(status=state, model=model, priority=priority, limit=left):
                more = page.next is not None
                yield [job.model_dump(mode="json") for job in page.items]

        if watch.every_s is not None:
            # A frame is shown whole, so that nothing is torn when the daemon goes away meanwhile.
            return watch.run(
                lambda: [job for page in pages() for job in page],
                lambda jobs: out.rows(jobs, _COLUMNS, empty="no jobs"),
            )
        shown = out.pages(pages(), _COLUMNS, empty="no jobs")
    if more:
        out.say(f"these are the newest {shown}; --all shows every job")
    return Exit.OK
