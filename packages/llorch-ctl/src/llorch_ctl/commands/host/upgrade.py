"""llorch host upgrade: puts this llorch's release on hosts, and takes it back where it fails."""

import asyncio
from pathlib import Path
from typing import Final

import click

from llorch_ctl.commands.host.check import named_hosts
from llorch_ctl.commands.live_names import HOSTS
from llorch_ctl.settings import CliSettings
from orchestrator_core.console.options import output_options
from orchestrator_core.console.render import Column, Output
from orchestrator_core.errors import Exit

__all__ = ["upgrade"]

_COLUMNS: Final = (
    Column("host", "host"),
    Column("before", "before"),
    Column("now", "now"),
    Column("changed", "changed"),
    Column("problem", "problem"),
)


@click.command("upgrade", short_help="Put this release on hosts.", epilog="""\b
Examples:
  llorch host upgrade mac
  llorch host upgrade --all --offline
""")  # fmt: skip
@click.argument("names", metavar="NAME...", nargs=-1, shell_complete=HOSTS)
@click.option("--all", "everyone", is_flag=True, help="Every host of llorch.toml.")
@click.option("--offline", is_flag=True, help="Send everything; hosts ask no package index.")
@click.option(
    "--wheels",
    type=click.Path(exists=True, file_okay=False, resolve_path=True, path_type=Path),
    metavar="DIR",
    help="The suite's own wheels, as ./dev wheels makes them.",
)
@click.option(
    "--third-party",
    type=click.Path(exists=True, file_okay=False, resolve_path=True, path_type=Path),
    metavar="DIR",
    help="The wheels of others; else third-party/ beside the suite's own.",
)
@output_options
@click.pass_obj
def upgrade(
    settings: CliSettings,
    *,
    names: tuple[str, ...],
    everyone: bool,
    offline: bool,
    wheels: Path | None,
    third_party: Path | None,
    out: Output,
) -> int:
    """Upgrade hosts, one after the other; upgrade them before the orchestrator.

    The new release is installed beside the old one and tested before anything is switched. Workers
    run on. When the new pool-managerd does not answer, the old one is started again. Releases may
    be one minor version apart, no more.
    """
    from llorch_ctl.enrolment.suite_source import find_suite_folder
    from llorch_ctl.enrolment.upgrading import Upgrading, upgrade_host
    from llorch_ctl.enrolment.wheelhouse import read_suite
    from orchestrator_core.console.exits import complain
    from orchestrator_core.errors import Refusal, error_for

    entries = named_hosts(settings, names, everyone=everyone)
    folder = find_suite_folder(settings, wheels, out.say)
    if isinstance(folder, Refusal):
        raise error_for(folder)
    suite = read_suite(folder)
    if isinstance(suite, Refusal):
        raise error_for(suite)
    rows: list[dict[str, object]] = []
    code: int = Exit.OK
    for entry in entries:
        order = Upgrading(entry, suite, third_party or folder / "third-party", offline)
        done = asyncio.run(upgrade_host(settings, order, out.say))
        if isinstance(done, Refusal):
            code = complain(error_for(done))
            rows.append({"host": entry.name, "changed": False, "problem": done.message})
            continue
        rows.append(
            {
                "host": done.host,
                "before": done.before,
                "now": done.now,
                "changed": done.is_changed,
                "problem": None,
            }
        )
    out.rows(rows, _COLUMNS)
    return code
