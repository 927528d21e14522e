"""llorch jobs status: one job, why it waits, and its attempts."""

from collections.abc import Mapping, Sequence
from typing import Final, cast

import click

from llorch_ctl.commands.jobs.identifiers import JobId
from llorch_ctl.settings import CliSettings
from orchestrator_core.console.options import orchestrator_url, output_options
from orchestrator_core.console.render import Column, Format, Output, cell
from orchestrator_core.console.watching import Watch, watch_option

__all__ = ["status"]


def _lines(value: object) -> str:
    return "; ".join(cell(line) for line in cast("Sequence[object]", value))


_ONE: Final = (
    Column("why", "why", show=_lines),
    *(
        Column(key, key.replace("_", " "))
        for key in (
            "id", "status", "model", "task", "priority", "session_id", "created_at", "started_at",
            "ended_at", "attempt", "worker_id", "tokens_out", "stop_reason", "usage", "timings",
            "seed", "error_code", "error_message", "metadata", "output",
        )
    ),
)  # fmt: skip
_ATTEMPTS: Final = (
    Column("attempt", "attempt", right=True),
    Column("worker", "worker"),
    Column("status", "status"),
    Column("tokens", "tokens", right=True),
    Column("kept_tokens", "kept", right=True),
    Column("reason", "reason"),
)


@click.command("status", short_help="Show everything about one job.", epilog="""\b
Examples:
  llorch jobs status job_01j9z3ntk8e1w0v5c6x7y8z9ab
  llorch jobs status job_01j9z3ntk8e1w0v5c6x7y8z9ab --why --watch
""")  # fmt: skip
@click.argument("job_id", metavar="ID", type=JobId())
@click.option("--why", "only_why", is_flag=True, help="Only why it is where it is, line by line.")
@orchestrator_url
@output_options
@watch_option
@click.pass_obj
def status(
    settings: CliSettings,
    *,
    job_id: str,
    only_why: bool,
    url: str | None,
    out: Output,
    watch: Watch,
) -> int:
    """Show one job: why it waits, its state, usage and output, then its attempts.

    Tokens of an attempt count the whole answer; kept is how many of them it took over from the
    attempts before.
    """
    from llorch_ctl.home.connection import connect

    show = _show_why if only_why else _show
    with connect(settings, url) as client:
        return watch.run(
            lambda: client.job(job_id).model_dump(mode="json"), lambda job: show(job, out)
        )


def _show(job: Mapping[str, object], out: Output) -> None:
    out.record(job, _ONE)
    attempts = cast("list[dict[str, object]] | None", job["attempts"])
    if attempts and out.shape is Format.TABLE:
        out.text("")
        out.rows([_attempt(row) for row in attempts], _ATTEMPTS)


def _show_why(job: Mapping[str, object], out: Output) -> None:
    reasons = cast("list[str] | None", job["why"]) or []
    if out.shape is not Format.TABLE:
        out.record({"id": job["id"], "status": job["status"], "why": reasons}, ())
        return
    for reason in reasons:
        out.text(cell(reason))
    if not reasons:
        out.say(f"{job['id']} is {job['status']}: it waits for nothing")


def _attempt(row: Mapping[str, object]) -> dict[str, object]:
    told = [str(row[key]) for key in ("reason", "message") if row[key]]
    worker = row["worker_name"] or row["worker_id"]
    return {**row, "worker": worker, "reason": ": ".join(told)}
