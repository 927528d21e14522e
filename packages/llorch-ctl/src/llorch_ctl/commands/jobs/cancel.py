"""llorch jobs cancel: ends jobs that have not ended yet."""

from typing import Final

import click

from llorch_ctl.commands.jobs.identifiers import JobId
from llorch_ctl.settings import CliSettings
from orchestrator_core.console.exits import complain
from orchestrator_core.console.options import orchestrator_url, output_options
from orchestrator_core.console.render import Column, Output
from orchestrator_core.errors import Code, LlorchError

__all__ = ["cancel"]

_COLUMNS: Final = (Column("id", "id"), Column("status", "status"), Column("model", "model"))


@click.command("cancel", short_help="Cancel jobs.", epilog="""\b
Examples:
  llorch jobs cancel job_01j9z3ntk8e1w0v5c6x7y8z9ab
  llorch jobs list --status queued --all --format json |
    python3 -c 'import json,sys; print(*[job["id"] for job in json.load(sys.stdin)])' |
    xargs llorch jobs cancel
""")  # fmt: skip
@click.argument("job_ids", metavar="ID...", type=JobId(), nargs=-1, required=True)
@orchestrator_url
@output_options
@click.pass_obj
def cancel(settings: CliSettings, *, job_ids: tuple[str, ...], url: str | None, out: Output) -> int:
    """Cancel jobs and wait until each has ended.

    One that has ended already stays as it is, and that is no mistake. An unknown id is told and
    makes the exit code 3; the others are cancelled all the same.
    """
    from llorch_ctl.home.connection import connect

    rows: list[dict[str, object]] = []
    code = 0
    with connect(settings, url) as client:
        for job_id in dict.fromkeys(job_ids):
            try:
                rows.append(client.cancel(job_id).model_dump(mode="json"))
            except LlorchError as error:
                code = complain(error)
                if error.code is not Code.JOB_NOT_FOUND:
                    # A key or a daemon that fails for one job fails for the next ones as well.
                    break
    out.rows(rows, _COLUMNS)
    return code
