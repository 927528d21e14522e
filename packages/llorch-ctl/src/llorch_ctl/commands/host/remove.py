"""llorch host remove: undoes what add has done, on the host, at the orchestrator and here."""

import asyncio
import sys
from typing import TYPE_CHECKING

import click

from llorch_ctl.commands.live_names import HOSTS
from llorch_ctl.settings import CliSettings
from orchestrator_core.console.options import orchestrator_url, output_options
from orchestrator_core.console.render import Column, Output

if TYPE_CHECKING:
    from llorch_ctl.enrolment.removal import Sizes

__all__ = ["remove"]

_COLUMNS = (
    Column("host", "host"),
    Column("was_enrolled", "was a pool"),
    Column("host_cleaned", "host cleaned"),
    Column("was_listed", "was in llorch.toml"),
)


@click.command("remove", short_help="Undo what add has done.", epilog="""\b
Examples:
  llorch host remove mac
  llorch host remove mac --keep-models --yes
  llorch host remove mac --force --yes
""")  # fmt: skip
@click.argument("name", metavar="NAME", shell_complete=HOSTS)
@click.option("--keep-models", is_flag=True, help="Leave the models where they are.")
@click.option("--force", is_flag=True, help="Forget it here even if the host cannot be reached.")
@click.option("--no-join", is_flag=True, help="Tell no orchestrator.")
@click.option("--yes", "-y", is_flag=True, help="Remove without asking.")
@orchestrator_url
@output_options
@click.pass_obj
def remove(
    settings: CliSettings,
    *,
    name: str,
    keep_models: bool,
    force: bool,
    no_join: bool,
    yes: bool,
    url: str | None,
    out: Output,
) -> None:
    """Remove a host: its pool, its daemon and workers, its key, its files, its entry.

    The orchestrator comes first, so that no job goes there any more. Models are deleted unless
    --keep-models is given. Removing twice is no mistake.
    """
    from llorch_ctl.enrolment.desk import Desk
    from llorch_ctl.enrolment.removal import Removal, remove_host
    from llorch_ctl.home.connection import connect
    from llorch_ctl.hosts.book import HostBook
    from orchestrator_core.errors import Refusal, error_for

    entry = HostBook.of(settings).find(name)
    if isinstance(entry, Refusal):
        raise error_for(entry)
    client = None if no_join else connect(settings, url)
    desk = Desk(client, client.peer.url) if client is not None else None

    def agree(sizes: "Sizes | None") -> bool:
        return _agree(name, sizes, keep_models=keep_models, yes=yes)

    try:
        removal = Removal(entry, keep_models=keep_models, force=force)
        done = asyncio.run(remove_host(settings, removal, desk, say=out.say, agree=agree))
    finally:
        if client is not None:
            client.close()
    if isinstance(done, Refusal):
        raise error_for(done)
    if not done.is_done:
        raise click.Abort
    row = {
        "host": name,
        "was_enrolled": done.was_enrolled,
        "host_cleaned": done.host_cleaned,
        "was_listed": done.was_listed,
    }
    out.record(row, _COLUMNS)


def _agree(name: str, sizes: "Sizes | None", *, keep_models: bool, yes: bool) -> bool:
    from orchestrator_core.errors import Code, Refusal, error_for
    from orchestrator_core.units import format_bytes

    if yes:
        return True
    if sizes is None:
        what = f"forget {name} here; what lies there stays"
    else:
        models = "keep" if keep_models else "delete"
        what = (
            f"remove {name}: {format_bytes(sizes.suite_bytes)} of programs, and {models} "
            f"{format_bytes(sizes.models_bytes)} of models"
        )
    if not sys.stdin.isatty():
        line = f"this would {what}: say --yes to do it"
        raise error_for(Refusal(Code.INVALID_REQUEST, line))
    return click.confirm(f"{what[0].upper()}{what[1:]}?", default=False, err=True)
