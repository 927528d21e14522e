"""llorch keys reset-admin: the way back in when every admin key is lost or leaked."""

import click

from llorch_ctl.settings import CliSettings
from orchestrator_core.console.options import output_options
from orchestrator_core.console.programs import ORCHESTRATORD
from orchestrator_core.console.render import Output

__all__ = ["reset_admin"]


@click.command("reset-admin", short_help="Replace every admin key, without having one.", epilog="""\b
Example:
  llorch orchestrator stop && llorch keys reset-admin && llorch orchestrator start
""")  # fmt: skip
@output_options
@click.pass_obj
def reset_admin(settings: CliSettings, *, out: Output) -> None:
    """Revoke every admin key and write a fresh one where this user's commands find it.

    It needs no key but the right to write the data folder, and orchestratord must be stopped.
    Other keys stay as they are.
    """
    from llorch_ctl.home.acts import act, refuse_running

    refuse_running(settings, "a new admin key")
    act(settings, out, "reset-admin")
    out.say(f"start it again with: {ORCHESTRATORD.start_command}")
