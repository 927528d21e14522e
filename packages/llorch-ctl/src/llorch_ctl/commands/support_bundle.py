"""llorch support-bundle: one file for whoever helps, without secrets, prompts and answers."""

from pathlib import Path
from typing import Final

import click

from llorch_ctl.commands.live_names import HOSTS
from llorch_ctl.settings import CliSettings
from orchestrator_core.console.options import orchestrator_url, output_options
from orchestrator_core.console.render import Column, Format, Output
from orchestrator_core.units import format_bytes

__all__ = ["support_bundle"]

_EPILOG: Final = """\b
Examples:
  llorch support-bundle
  llorch support-bundle --anonymous --out /tmp/bundle.tar.gz
  llorch support-bundle --host mac --host workstation
"""


def _bytes(value: object) -> str:
    return format_bytes(value) if isinstance(value, int) else "-"


_COLUMNS: Final = (
    Column("name", "file"),
    Column("size_bytes", "size", right=True, show=_bytes),
    Column("left_out", "left out"),
)


@click.command(
    "support-bundle",
    short_help="Collect what helps to find a fault into one file.",
    epilog=_EPILOG,
)
@click.option(
    "--out",
    "path",
    type=click.Path(path_type=Path, resolve_path=True),
    metavar="FILE",
    help="The .tar.gz to write; without it one in this folder, called by the time.",
)
@click.option(
    "--host",
    "names",
    multiple=True,
    metavar="NAME",
    shell_complete=HOSTS,
    help="Also ask this host over SSH; repeatable.",
)
@click.option("--anonymous", is_flag=True, help="Also hide names of users, hosts and addresses.")
@click.option(
    "--worker-logs",
    is_flag=True,
    help="Also the engines' logs; engines that were told to be verbose quote prompts there.",
)
@orchestrator_url
@output_options
@click.pass_obj
def support_bundle(
    settings: CliSettings,
    *,
    path: Path | None,
    names: tuple[str, ...],
    anonymous: bool,
    worker_logs: bool,
    url: str | None,
    out: Output,
) -> None:
    """Collect versions, settings, ends of logs, findings, pools and counts of jobs into one file.

    No key, prompt or answer is in it; what looks like a secret is taken out, and your home folder
    is written as ~. It is sent nowhere: look into it, then hand it to whoever helps you.
    """
    from llorch_ctl.bundle.making import Order, make_bundle
    from llorch_ctl.hosts.book import HostBook
    from orchestrator_core.errors import Refusal, error_for

    entries = [HostBook.of(settings).find(name) for name in names]
    for entry in entries:
        if isinstance(entry, Refusal):
            raise error_for(entry)
    hosts = tuple(entry for entry in entries if not isinstance(entry, Refusal))
    order = Order(path, hosts, url, anonymous=anonymous, worker_logs=worker_logs)
    made = make_bundle(settings, order, out.say)
    if isinstance(made, Refusal):
        raise error_for(made)
    rows: list[dict[str, object]] = [
        {"name": name, "size_bytes": size} for name, size in made.files.items()
    ]
    rows.extend({"name": name, "left_out": why} for name, why in made.left_out.items())
    if out.shape is Format.TABLE:
        out.rows(rows, _COLUMNS)
        out.text(f"{made.path} ({format_bytes(made.size_bytes)})")
        out.say("nothing was sent: look into it, then hand it over")
    else:
        told = {"path": str(made.path), "size_bytes": made.size_bytes, "files": rows}
        out.record(told, ())
