"""llorch jobs submit: one job with all it may say, followed to its end or left alone."""

from typing import Final

import click

from llorch_ctl.commands.jobs.identifiers import IdempotencyKey
from llorch_ctl.commands.jobs.words import PRIORITIES
from llorch_ctl.commands.live_names import MODELS, POOLS
from llorch_ctl.settings import CliSettings
from orchestrator_core.console.amounts import Duration
from orchestrator_core.console.options import Seconds, orchestrator_url, output_options
from orchestrator_core.console.render import Output

__all__ = ["submit"]

_EPILOG: Final = """\b
Examples:
  llorch jobs submit --model tiny-chat --prompt "What is a worker?"
  cat letter.txt | llorch jobs submit --model tiny-chat --system "Answer in one line."
  llorch jobs submit --model tiny-chat --messages talk.jsonl --max-tokens 200
  llorch jobs submit --model tiny-chat --prompt Hello --response-format schema.json
  llorch jobs submit --model tiny-chat --prompt Hello --priority batch --detach
  llorch jobs submit --model tiny-chat --prompt Hello --format json
"""


@click.command("submit", short_help="Hand in a job and print its answer.", epilog=_EPILOG)
@click.option(
    "--model",
    "-m",
    required=True,
    shell_complete=MODELS,
    help="Alias, catalogue id or model reference.",
)
@click.option("--prompt", "-p", help="The question; - or nothing reads it from stdin.")
@click.option("--system", metavar="TEXT", help="How the model is to behave.")
@click.option(
    "--messages",
    "messages_from",
    metavar="FILE",
    help="A conversation: a JSON array or one message per line; - is stdin.",
)
@click.option("--raw", is_flag=True, help="Hand the prompt over without a chat template.")
@click.option("--max-tokens", type=int, help="Length limit of the answer.")
@click.option("--temperature", type=float, help="0 always picks the most likely token.")
@click.option("--top-p", type=float, help="Pick among the likeliest tokens of this share.")
@click.option("--top-k", type=int, help="Pick among so many tokens; 0 is all.")
@click.option("--min-p", type=float, help="Leave out tokens below this share of the likeliest.")
@click.option("--repetition-penalty", type=float, help="Above 1, what was said becomes unlikely.")
@click.option("--stop", multiple=True, metavar="TEXT", help="End before this text; repeatable.")
@click.option("--seed", type=int, help="The same seed gives the same answer again.")
@click.option(
    "--response-format",
    "format_from",
    metavar="json|FILE",
    help="Answer in JSON, or by the JSON schema in a file.",
)
@click.option("--priority", type=click.Choice(PRIORITIES), help="Class of the job: interactive.")
@click.option("--session", "session_id", help="Jobs of one session prefer the same worker.")
@click.option(
    "--deadline",
    "deadline_s",
    type=Duration(),
    metavar="TIME",
    help="Give up what has not ended so long after its acceptance: 90s, 15min, 2h.",
)
@click.option(
    "--pin-pool", metavar="POOL", shell_complete=POOLS, help="Run on this pool and on no other."
)
@click.option(
    "--metadata", "pairs", multiple=True, metavar="NAME=VALUE", help="Shown with it; repeatable."
)
@click.option("--cancel-on-disconnect", is_flag=True, help="Cancel the job when we leave.")
@click.option(
    "--idempotency-key",
    "key",
    type=IdempotencyKey(),
    metavar="KEY",
    help="The same KEY with the same job is one job, however often it is handed in.",
)
@click.option("--detach", is_flag=True, help="Print the id of the job and do not wait.")
@click.option(
    "--timeout",
    "timeout_s",
    type=Seconds(min=0, min_open=True),
    metavar="SECONDS",
    help="Leave after so long with exit code 124; the job runs on.",
)
@orchestrator_url
@output_options
@click.pass_obj
def submit(
    settings: CliSettings,
    *,
    url: str | None,
    key: str | None,
    detach: bool,
    timeout_s: float | None,
    messages_from: str | None,
    system: str | None,
    format_from: str | None,
    deadline_s: float | None,
    pin_pool: str | None,
    pairs: tuple[str, ...],
    out: Output,
    **fields: object,
) -> int:
    """Hand in a job and print its answer on stdout, token by token.

    The answer goes on across restarts of orchestratord and the loss of a worker, and a connection
    that is lost while the job is handed in does not double it. Ctrl-C cancels the job and waits for
    that; a second Ctrl-C leaves at once. A closed pipe and --timeout leave the job alone, unless it
    was handed in with --cancel-on-disconnect. With --format json or yaml the whole job is printed
    when it has ended.
    """
    from llorch_ctl.commands.jobs.handing import Handing, run
    from llorch_ctl.commands.jobs.submission import compose
    from llorch_ctl.home.connection import connect

    task = compose(
        fields,
        messages_from=messages_from,
        system=system,
        deadline_s=deadline_s,
        pin_pool=pin_pool,
        format_from=format_from,
        pairs=pairs,
    )
    with connect(settings, url) as client:
        return run(client, task, Handing(key=key, detach=detach, timeout_s=timeout_s), out)
