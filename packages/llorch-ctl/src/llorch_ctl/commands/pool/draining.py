"""llorch pool drain and resume: close a pool for new work through the orchestrator, and open it."""

import re
from typing import Final

import click

from llorch_ctl.commands.live_names import POOLS
from llorch_ctl.settings import CliSettings
from orchestrator_core.console.options import orchestrator_url, output_options
from orchestrator_core.console.render import Format, Output

__all__ = ["PoolName", "drain", "resume"]

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class PoolName(click.ParamType[str]):
    """The name of a pool; whether there is one, orchestratord tells."""

    name = "pool"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """Take letters, digits, dot, dash and underscore, a letter or digit first."""
        text = str(value)
        if not _NAME.fullmatch(text):
            self.fail(f"{text[:80]!a} is no pool; llorch pool list shows them", param, ctx)
        return text


@click.command("drain", short_help="Give a pool no new work; what runs goes on.", epilog="""\b
Examples:
  llorch pool drain mac
  llorch pool list --watch
""")  # fmt: skip
@click.argument("name", metavar="POOL", type=PoolName(), shell_complete=POOLS)
@orchestrator_url
@output_options
@click.pass_obj
def drain(settings: CliSettings, *, name: str, url: str | None, out: Output) -> None:
    """Give a pool no new worker and no new job, until it is resumed.

    What runs there goes on to its end. The host remembers it, also over a restart. Draining twice
    is no mistake.
    """
    from llorch_ctl.home.connection import connect

    with connect(settings, url) as client:
        client.drain(name)
    _tell(out, name, f"{name} is draining: llorch pool resume {name} ends it", draining=True)


@click.command("resume", short_help="Give a pool work again.", epilog="""\b
Example:
  llorch pool resume mac
""")  # fmt: skip
@click.argument("name", metavar="POOL", type=PoolName(), shell_complete=POOLS)
@orchestrator_url
@output_options
@click.pass_obj
def resume(settings: CliSettings, *, name: str, url: str | None, out: Output) -> None:
    """End the draining of a pool; one that does not drain stays as it is."""
    from llorch_ctl.home.connection import connect

    with connect(settings, url) as client:
        client.resume(name)
    _tell(out, name, f"{name} takes workers and jobs", draining=False)


def _tell(out: Output, name: str, text: str, *, draining: bool) -> None:
    if out.shape is Format.TABLE:
        out.text(text)
    else:
        out.record({"pool_id": name, "draining": draining}, ())
