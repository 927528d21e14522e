"""llorch host check: what is wrong with enrolled hosts, and what to do about it."""

import asyncio
from typing import TYPE_CHECKING, Final

import click

from llorch_ctl.commands.live_names import HOSTS
from llorch_ctl.settings import CliSettings
from orchestrator_core.console.options import orchestrator_url, output_options
from orchestrator_core.console.render import Column, Output
from orchestrator_core.errors import Exit

if TYPE_CHECKING:
    from llorch_ctl.hosts.entries import HostEntry

__all__ = ["check", "named_hosts"]

_COLUMNS: Final = (
    Column("host", "host"),
    Column("severity", "severity"),
    Column("subject", "subject"),
    Column("text", "finding"),
    Column("fix", "fix"),
)


@click.command("check", short_help="Find out what is wrong with hosts.", epilog="""\b
Examples:
  llorch host check mac
  llorch host check --all --format json
""")  # fmt: skip
@click.argument("names", metavar="NAME...", nargs=-1, shell_complete=HOSTS)
@click.option("--all", "everyone", is_flag=True, help="Every host of llorch.toml.")
@orchestrator_url
@output_options
@click.pass_obj
def check(
    settings: CliSettings,
    *,
    names: tuple[str, ...],
    everyone: bool,
    url: str | None,
    out: Output,
) -> int:
    """Look at hosts: key, version, daemon, service, clock, disk, devices, and their pools.

    Nothing is changed. Exit code 0: no error; 1: at least one, each with a fix.
    """
    from llorch_ctl.enrolment.checking import check_hosts
    from llorch_ctl.enrolment.desk import Desk
    from llorch_ctl.enrolment.findings import Grade
    from llorch_ctl.enrolment.our_version import our_version
    from llorch_ctl.home.connection import connect

    entries = named_hosts(settings, names, everyone=everyone)
    with connect(settings, url) as client:
        desk = Desk(client, client.peer.url)
        found = asyncio.run(check_hosts(settings, entries, desk, our_version()))
    rows = [
        {
            "host": one.host,
            # In the words of the doctors, so that a script reads all findings alike.
            "severity": "error" if one.grade is Grade.PROBLEM else one.grade.value,
            "subject": one.what,
            "text": one.text,
            "fix": one.fix or None,
        }
        for one in found
    ]
    out.rows(rows, _COLUMNS, empty="llorch.toml names no host: llorch host add NAME adds one")
    problems = sum(one.grade is Grade.PROBLEM for one in found)
    if problems:
        out.say(f"{problems} {'error' if problems == 1 else 'errors'}")
    return Exit.FAILURE if problems else Exit.OK


def named_hosts(
    settings: CliSettings, names: tuple[str, ...], *, everyone: bool
) -> "list[HostEntry]":
    """The hosts that a command means: some by name, or all of the file."""
    from llorch_ctl.hosts.book import HostBook
    from orchestrator_core.errors import Refusal, error_for

    if everyone == bool(names):
        raise click.UsageError("name hosts, or take --all")
    book = HostBook.of(settings)
    if everyone:
        return [entry for entry in book.entries() if entry.ssh is not None]
    found: list[HostEntry] = []
    for name in names:
        entry = book.find(name)
        if isinstance(entry, Refusal):
            raise error_for(entry)
        found.append(entry)
    return found
