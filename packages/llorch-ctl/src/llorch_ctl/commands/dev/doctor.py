"""llorch dev doctor: what is wrong with this machine as the one that controls, and what helps."""

from typing import Final

import click

from llorch_ctl.settings import CliSettings
from orchestrator_core.console.options import orchestrator_url, output_options
from orchestrator_core.console.render import Output

__all__ = ["doctor"]

_EPILOG: Final = """\b
Examples:
  llorch dev doctor
  llorch dev doctor --hosts
  llorch dev doctor --format json
"""


@click.command(
    "doctor", short_help="Check this machine and say what helps (exit code 0 or 1).", epilog=_EPILOG
)
@click.option(
    "--hosts",
    is_flag=True,
    help="Also ask every host of llorch.toml for what its own doctor finds: drivers, engine, disk.",
)
@orchestrator_url
@output_options
@click.pass_obj
def doctor(settings: CliSettings, *, hosts: bool, url: str | None, out: Output) -> int:
    """Check programs, SSH, ports, keys, disk, clocks, versions, the orchestrator and its pools.

    Each finding comes with what helps. Nothing is changed, and nothing need run. Exit code 0:
    there is no error; 1: something will not work.
    """
    from llorch_ctl.diagnosis.examination import Wanted, examine
    from llorch_ctl.diagnosis.findings import judge
    from llorch_ctl.diagnosis.host_reading import named_hosts
    from orchestrator_core.console.finding_reports import show_findings

    named = named_hosts(settings) if hosts else []
    return show_findings(out, judge(examine(settings, Wanted(url=url, hosts=named))))
