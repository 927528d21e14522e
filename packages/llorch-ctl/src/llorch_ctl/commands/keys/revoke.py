"""llorch keys revoke: ends keys, with what is open under them."""

from typing import Final

import click

from llorch_ctl.commands.live_names import KEYS
from llorch_ctl.settings import CliSettings
from orchestrator_core.console.exits import complain
from orchestrator_core.console.options import orchestrator_url, output_options
from orchestrator_core.console.render import Column, Output
from orchestrator_core.errors import Code, LlorchError, Refusal, error_for

__all__ = ["revoke"]

_COLUMNS: Final = (Column("id", "id"), Column("name", "name"), Column("revoked_at", "revoked"))
_ABOUT_ONE: Final = (Code.KEY_NOT_FOUND, Code.CONFLICT)


@click.command("revoke", short_help="Revoke keys at once.", epilog="""\b
Examples:
  llorch keys revoke laptop
  llorch keys revoke key_01j9z3ntk8e1w0v5c6x7y8z9ab
""")  # fmt: skip
@click.argument("words", metavar="ID|NAME...", nargs=-1, required=True, shell_complete=KEYS)
@orchestrator_url
@output_options
@click.pass_obj
def revoke(settings: CliSettings, *, words: tuple[str, ...], url: str | None, out: Output) -> int:
    """Revoke keys by id, or by a name that only one working key has.

    Within a second nothing is taken with them and their open streams end; jobs that were handed in
    go on. Nothing is asked, and revoking twice is no mistake.
    """
    from llorch_ctl.commands.keys.states import named_key
    from llorch_ctl.home.connection import connect
    from orchestrator_core.clock import SystemClock

    rows: list[dict[str, object]] = []
    code = 0
    with connect(settings, url) as client:
        keys = client.keys().items
        for word in dict.fromkeys(words):
            try:
                key = named_key(keys, word, SystemClock().unix_ms())
                if isinstance(key, Refusal):
                    raise error_for(key)
                revoked = client.revoke_key(key.id)
            except LlorchError as error:
                code = complain(error)
                if error.code not in _ABOUT_ONE:
                    # A key or a daemon that fails for one of them fails for the next as well.
                    break
            else:
                rows.append(revoked.model_dump(mode="json"))
                if revoked.note:
                    out.say(revoked.note)
    out.rows(rows, _COLUMNS)
    return code
