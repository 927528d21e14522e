"""llorch keys create: a key with its scopes and limits, printed this once."""

from typing import Final

import click

from llorch_ctl.commands.jobs.words import PRIORITIES
from llorch_ctl.commands.live_names import MODELS
from llorch_ctl.settings import CliSettings
from orchestrator_core.console.amounts import Duration
from orchestrator_core.console.options import orchestrator_url, output_options
from orchestrator_core.console.render import Format, Output

__all__ = ["SCOPES", "create"]

# The words of the contract, which a help text must not import; a test compares them.
SCOPES: Final = ("user", "operator", "admin", "pool", "metrics")

_FLAGS: Final = {
    "name": "NAME",
    "scopes": "--scope",
    "models": "--model",
    "expires_in_s": "--expires",
}


@click.command("create", short_help="Make a key and print it once.", epilog="""\b
Examples:
  llorch keys create laptop
  LLORCH_API_KEY=$(llorch keys create laptop --quiet) llorch jobs list
  llorch keys create nightly --priority batch --requests-per-minute 60 --concurrent-jobs 4
  llorch keys create guest --model tiny-chat --expires 30d
  llorch keys create deploy --scope operator --format json
""")  # fmt: skip
@click.argument("name", metavar="NAME")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(SCOPES),
    help="What it opens; repeatable. Without it: user.",
)
@click.option(
    "--model",
    "-m",
    "models",
    multiple=True,
    shell_complete=MODELS,
    help="Only this model; repeatable. Without it: all.",
)
@click.option("--priority", type=click.Choice(PRIORITIES), help="The highest class of its jobs.")
@click.option("--weight", type=int, help="Its share among keys that wait in the same class: 1.")
@click.option("--requests-per-minute", type=int, help="Refuse what goes beyond; else no limit.")
@click.option("--concurrent-jobs", type=int, help="Jobs that may live at once; else no limit.")
@click.option(
    "--expires", "expires_s", type=Duration(), metavar="TIME", help="Ends after so long: 12h, 30d."
)
@orchestrator_url
@output_options
@click.pass_obj
def create(
    settings: CliSettings,
    *,
    name: str,
    scopes: tuple[str, ...],
    models: tuple[str, ...],
    expires_s: float | None,
    url: str | None,
    out: Output,
    **limits: object,
) -> None:
    """Make a key and print it, alone on stdout.

    It is shown this once and kept nowhere: a lost key is revoked and made anew. Two keys may have
    one name. --format json shows the key with all that was set.
    """
    from llorch_ctl.commands.flag_values import checked
    from llorch_ctl.home.connection import connect
    from orchestrator_core.contracts.keys import KeyOrder

    wanted = {
        **limits,
        "name": name,
        "scopes": scopes or None,
        "models": models or None,
        "expires_in_s": None if expires_s is None else max(1, round(expires_s)),
    }
    order = checked(KeyOrder, wanted, _FLAGS, first="NAME")
    with connect(settings, url) as client:
        made = client.create_key(order)
    if out.shape is not Format.TABLE:
        out.record(made.model_dump(mode="json"), ())
        return
    out.text(made.key.get_secret_value())
    opens = " and ".join(made.scopes)
    until = f", until {made.expires_at}" if made.expires_at else ""
    out.say(f"{made.id} opens {opens} for {made.name}{until}; it is shown only now")
    out.say(f"end it with: llorch keys revoke {made.id}")
