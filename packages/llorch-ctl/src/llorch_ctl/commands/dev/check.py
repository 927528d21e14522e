"""llorch dev check: whether every settings file can be used and every host is reached."""

from typing import Final

import click

from llorch_ctl.commands.live_names import HOSTS
from llorch_ctl.settings import CliSettings
from orchestrator_core.console.options import output_options
from orchestrator_core.console.render import Output

__all__ = ["check"]

_EPILOG: Final = """\b
Examples:
  llorch dev check
  llorch dev check --no-hosts
  llorch dev check --host mac --format json
"""


@click.command("check", short_help="Check settings and hosts (exit code 0 or 1).", epilog=_EPILOG)
@click.option(
    "--host",
    "names",
    multiple=True,
    metavar="NAME",
    shell_complete=HOSTS,
    help="Only this host; repeatable. Without it: every host of llorch.toml.",
)
@click.option("--no-hosts", is_flag=True, help="Only the settings files.")
@output_options
@click.pass_obj
def check(settings: CliSettings, *, names: tuple[str, ...], no_hosts: bool, out: Output) -> int:
    """Check llorch.toml, orchestrator.toml, pool.toml and catalog.toml, and log in at every host.

    Hosts are asked side by side, eight at a time and 15 seconds at most. Exit code 0: all is well;
    1: something must be corrected; 3: there is no such host.
    """
    from llorch_ctl.diagnosis.examination import Wanted, examine
    from llorch_ctl.diagnosis.findings import judge
    from llorch_ctl.diagnosis.host_reading import named_hosts
    from llorch_ctl.hosts.book import HostBook
    from orchestrator_core.console.finding_reports import show_findings
    from orchestrator_core.errors import Refusal, error_for

    hosts = [] if names or no_hosts else named_hosts(settings)
    for name in names:
        found = HostBook.of(settings).find(name)
        if isinstance(found, Refusal):
            raise error_for(found)
        hosts.append(found)
    return show_findings(out, judge(examine(settings, Wanted(machine=False, hosts=hosts))))
