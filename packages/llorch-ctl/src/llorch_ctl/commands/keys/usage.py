"""llorch keys usage: tokens and jobs per key and model."""

import re
from datetime import datetime
from typing import TYPE_CHECKING, Final

import click

from llorch_ctl.commands.live_names import KEYS
from llorch_ctl.settings import CliSettings
from orchestrator_core.console.options import orchestrator_url, output_options
from orchestrator_core.console.render import Column, Output
from orchestrator_core.console.watching import Watch, watch_option

if TYPE_CHECKING:
    from orchestrator_core.contracts.keys import UsageList

__all__ = ["usage"]

_LENGTH: Final = re.compile(r"[0-9]{1,6}[hd]")
_COLUMNS: Final = (
    Column("key", "key"),
    Column("model", "model"),
    Column("jobs", "jobs", right=True),
    Column("completed", "completed", right=True),
    Column("prompt_tokens", "prompt tokens", right=True),
    Column("completion_tokens", "answer tokens", right=True),
)


class _Since(click.ParamType[str]):
    """A moment of RFC 3339, or how far back in hours or days."""

    name = "since"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """Pass on what orchestratord understands, by whose clock it counts."""
        text = str(value).strip()
        try:
            if not _LENGTH.fullmatch(text):
                datetime.fromisoformat(text)
        except ValueError:
            reason = (
                f"{value!r} is no length like 24h or 7d and no moment like 2026-01-31T00:00:00Z"
            )
            self.fail(reason, param, ctx)
        return text


@click.command("usage", short_help="Sum up usage per key and model.", epilog="""\b
Examples:
  llorch keys usage --since 24h
  llorch keys usage --since 2026-01-01T00:00:00Z --format json
  llorch keys usage --key laptop --watch
""")  # fmt: skip
@click.option("--since", type=_Since(), metavar="TIME", help="Only from then on: 24h, 7d, a date.")
@click.option("--key", metavar="ID|NAME", shell_complete=KEYS, help="Only of this key.")
@orchestrator_url
@output_options
@watch_option
@click.pass_obj
def usage(
    settings: CliSettings,
    *,
    since: str | None,
    key: str | None,
    url: str | None,
    out: Output,
    watch: Watch,
) -> int:
    """Show what each key used of each model, the most used first.

    An operator's or admin's key sees all, another key its own usage. A name, like revoking, needs
    an admin key.
    """
    from llorch_ctl.commands.keys.states import named_key
    from llorch_ctl.home.connection import connect
    from orchestrator_core import ids
    from orchestrator_core.clock import SystemClock
    from orchestrator_core.errors import Refusal, error_for

    with connect(settings, url) as client:

        def look() -> "UsageList":
            key_id = key
            if key is not None and not ids.is_id(ids.PREFIX_KEY, key):
                found = named_key(client.keys().items, key, SystemClock().unix_ms())
                if isinstance(found, Refusal):
                    raise error_for(found)
                key_id = found.id
            return client.usage(since=since, key_id=key_id)

        return watch.run(look, lambda used: _show(used, out, said=since is not None))


def _show(used: "UsageList", out: Output, *, said: bool) -> None:
    rows = [
        {**view.model_dump(mode="json"), "key": view.key_name or view.key_id} for view in used.items
    ]
    out.rows(rows, _COLUMNS, empty="nothing was used" + (f" since {used.since}" if said else ""))
