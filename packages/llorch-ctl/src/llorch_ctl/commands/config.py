"""llorch config: what this installation goes by, and where each of it comes from."""

from dataclasses import asdict
from typing import Final

import click

from llorch_ctl.settings import CliSettings
from orchestrator_core.console.lazy_group import LazyGroup
from orchestrator_core.console.options import orchestrator_url, output_options
from orchestrator_core.console.render import Column, Format, Output

__all__ = ["config", "show"]

_VALUES: Final = (Column("program", "program"), Column("key", "key"), Column("value", "value"))
_ORIGIN: Final = Column("origin", "origin")


@click.command(
    "show",
    short_help="Show the settings of llorch and of the daemons here.",
    epilog="""\b
Examples:
  llorch config show
  llorch config show --origin --changed
  llorch config show --format json
""",
)
@click.option(
    "--origin", "origins", is_flag=True, help="Say where each comes from; JSON always does."
)
@click.option("--changed", is_flag=True, help="Leave out what is a default.")
@orchestrator_url
@output_options
@click.pass_obj
def show(
    settings: CliSettings, *, origins: bool, changed: bool, url: str | None, out: Output
) -> int:
    """Show what llorch and the daemons of this installation go by.

    An origin is a flag, a variable (env NAME), a file, the run file of a daemon, or default. The
    daemons' settings are those of their next start. Keys are never shown. Exit code 1: some
    setting cannot be used.
    """
    from llorch_ctl.diagnosis.daemon_settings import read_configs
    from llorch_ctl.diagnosis.own_settings import Setting, own_settings
    from orchestrator_core.console.exits import complain
    from orchestrator_core.errors import Code, Exit, Refusal, error_for

    found, code = own_settings(settings, url), int(Exit.OK)
    for program, told in read_configs(settings.daemon_env()).items():
        if not isinstance(told, Refusal):
            pairs = told.settings.items()
            found += [Setting(program.name, key, it, told.origins[key]) for key, it in pairs]
        elif told.code is Code.CONFIG_INVALID:
            code = complain(error_for(told))
        else:
            out.say(f"the settings of {program.name} cannot be told: {told.message}")
    rows = [asdict(it) for it in found if not (changed and it.origin == "default")]
    with_origin = origins or out.shape is not Format.TABLE
    out.rows(rows, (*_VALUES, _ORIGIN) if with_origin else _VALUES, empty="everything is a default")
    return code


config = LazyGroup(
    "config",
    commands=[show],
    help="Show what this installation goes by, and where each setting comes from.",
)
