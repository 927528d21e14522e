"""llorch jobs: hand jobs in, follow them, list, show and cancel them."""

import sys
from typing import TYPE_CHECKING, Final

import click

from llorch_ctl.settings import CliSettings
from orchestrator_core.console.exits import complain
from orchestrator_core.console.lazy_group import LazyGroup
from orchestrator_core.console.options import orchestrator_url, output_options
from orchestrator_core.console.render import Column, Format, Output
from orchestrator_core.errors import LlorchError

if TYPE_CHECKING:
    from orchestrator_core.clients.orchestrator import OrchestratorClient
    from orchestrator_core.contracts.tasks import JobView

__all__ = ["PRIORITIES", "STATUSES", "cancel", "jobs", "list_jobs", "status", "submit"]

# The words of the contracts, which a help text must not import; a test compares them.
PRIORITIES: Final = ("interactive", "batch")
STATUSES: Final = (
    "queued", "dispatched", "running", "completed", "failed", "cancelled", "expired",
)  # fmt: skip

_PAGE: Final = 500
_LIST: Final = (
    Column("id", "id"),
    Column("status", "status"),
    Column("model", "model"),
    Column("priority", "priority"),
    Column("created_at", "created"),
    Column("attempt", "attempt", right=True),
    Column("tokens_out", "tokens", right=True),
    Column("error_code", "error"),
)
_ONE: Final = tuple(
    Column(key, key.replace("_", " "))
    for key in (
        "id", "status", "model", "task", "priority", "session_id", "created_at", "started_at",
        "ended_at", "attempt", "worker_id", "why", "attempts", "tokens_out", "stop_reason",
        "usage", "timings", "seed", "error_code", "error_message", "metadata", "output",
    )
)  # fmt: skip


@click.command(
    short_help="Hand in a job and print its answer.",
    epilog="""\b
Examples:
  llorch jobs submit --model tiny-chat --prompt "What is a worker?"
  cat letter.txt | llorch jobs submit --model tiny-chat --prompt - --max-tokens 200
  llorch jobs submit --model tiny-chat --prompt Hello --priority batch --detach
  llorch jobs submit --model tiny-chat --prompt Hello --format json
""",
)
@click.option("--model", "-m", required=True, help="Alias, catalogue id or model reference.")
@click.option("--prompt", "-p", required=True, help="The question; - reads it from stdin.")
@click.option("--max-tokens", type=int, help="Length limit of the answer.")
@click.option("--temperature", type=float, help="0 always picks the most likely token.")
@click.option("--top-p", type=float, help="Pick among the likeliest tokens of this share.")
@click.option("--seed", type=int, help="The same seed gives the same answer again.")
@click.option("--priority", type=click.Choice(PRIORITIES), help="Class of the job: interactive.")
@click.option("--session", "session_id", help="Jobs of one session prefer the same worker.")
@click.option("--raw", is_flag=True, help="Hand the prompt over without a chat template.")
@click.option("--detach", is_flag=True, help="Print the id of the job and do not wait.")
@orchestrator_url
@output_options
@click.pass_obj
def submit(
    settings: CliSettings,
    *,
    url: str | None,
    prompt: str,
    detach: bool,
    out: Output,
    **fields: object,
) -> int:
    """Hand in a job and print its answer on stdout, token by token.

    The answer goes on across restarts of orchestratord and the loss of a worker. Ctrl-C cancels the
    job. With --format json or yaml the whole job is printed when it has ended.
    """
    from llorch_ctl.commands.submission import compose, run_job
    from llorch_ctl.home.connection import connect

    if prompt == "-":
        prompt = sys.stdin.read()
    task = compose({**fields, "prompt": prompt})
    with connect(settings, url) as client:
        accepted = client.submit(task)
        if detach:
            if out.shape is Format.TABLE:
                out.text(accepted.job_id)
            else:
                out.record(accepted.model_dump(mode="json"), ())
            return 0
        return run_job(client, accepted, out)


@click.command(
    "list",
    short_help="List jobs, newest first.",
    epilog="""\b
Examples:
  llorch jobs list --status queued --limit 10
  llorch jobs list --all --format json
""",
)
@click.option("--status", "state", type=click.Choice(STATUSES), help="Only jobs in this state.")
@click.option("--model", help="Only jobs for this model.")
@click.option(
    "--limit",
    type=click.IntRange(1, 500),
    default=50,
    show_default=True,
    help="How many jobs at most.",
)
@click.option("--all", "everything", is_flag=True, help="All jobs, whatever --limit says.")
@orchestrator_url
@output_options
@click.pass_obj
def list_jobs(
    settings: CliSettings,
    *,
    state: str | None,
    model: str | None,
    limit: int,
    everything: bool,
    url: str | None,
    out: Output,
) -> None:
    """List jobs, newest first."""
    from llorch_ctl.home.connection import connect

    found: list[JobView] = []
    cursor: str | None = None
    size = _PAGE if everything else limit
    with connect(settings, url) as client:
        while True:
            page = client.jobs(status=state, model=model, limit=size, cursor=cursor)
            found += page.items
            cursor = page.next
            if cursor is None or not everything:
                break
    shown = found if everything else found[:limit]
    out.rows([job.model_dump(mode="json") for job in shown], _LIST, empty="no jobs")
    if cursor is not None:
        out.say(f"these are the newest {len(shown)}; --all shows every job")


@click.command(short_help="Show everything about one job.")
@click.argument("job_id", metavar="ID")
@orchestrator_url
@output_options
@click.pass_obj
def status(settings: CliSettings, *, job_id: str, url: str | None, out: Output) -> None:
    """Show one job: its state, why it waits, its attempts, usage and output."""
    from llorch_ctl.home.connection import connect

    with connect(settings, url) as client:
        out.record(client.job(job_id).model_dump(mode="json"), _ONE)


@click.command(
    short_help="Cancel jobs.",
    epilog="""\b
Example:
  llorch jobs cancel job_01j9z3ntk8e1w0v5c6x7y8z9ab
""",
)
@click.argument("job_ids", metavar="ID...", nargs=-1, required=True)
@orchestrator_url
@output_options
@click.pass_obj
def cancel(settings: CliSettings, *, job_ids: tuple[str, ...], url: str | None, out: Output) -> int:
    """Cancel jobs; one that has ended already stays as it is, and that is no mistake."""
    from llorch_ctl.home.connection import connect

    rows: list[dict[str, object]] = []
    code = 0
    with connect(settings, url) as client:
        for job_id in job_ids:
            code = _cancel_one(client, job_id, rows) or code
    out.rows(rows, _LIST[:3])
    return code


def _cancel_one(client: "OrchestratorClient", job_id: str, rows: list[dict[str, object]]) -> int:
    try:
        rows.append(client.cancel(job_id).model_dump(mode="json"))
    except LlorchError as error:
        return complain(error)
    return 0


jobs = LazyGroup(
    "jobs",
    commands=[submit, list_jobs, status, cancel],
    help="Hand in jobs, follow them, list and cancel them.",
)
