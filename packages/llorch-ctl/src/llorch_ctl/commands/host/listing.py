"""llorch host list: the hosts of llorch.toml, and on request how they are."""

import asyncio
from typing import TYPE_CHECKING, Final

import click

from llorch_ctl.settings import CliSettings
from orchestrator_core.console.options import output_options
from orchestrator_core.console.render import Column, Output
from orchestrator_core.console.watching import Watch, watch_option

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from llorch_ctl.hosts.entries import HostEntry
    from orchestrator_core.clients.ssh.known_keys import KnownKeys

__all__ = ["list_hosts"]

_COLUMNS: Final = (
    Column("name", "name"),
    Column("ssh", "ssh"),
    Column("url", "url"),
    Column("trusted", "key trusted"),
)
_CHECKED: Final = (
    Column("enrolled", "enrolled"),
    Column("reachable", "reachable"),
    Column("version", "version"),
    Column("problem", "problem"),
)
_EMPTY: Final = "llorch.toml names no host: llorch host add NAME adds one"


@click.command("list", short_help="List the hosts you have named.", epilog="""\b
Examples:
  llorch host list
  llorch host list --check
  llorch host list --check --every 30
  llorch host list --format json
""")  # fmt: skip
@click.option("--check", is_flag=True, help="Log in everywhere and ask for the version there.")
@output_options
@watch_option
@click.pass_obj
def list_hosts(settings: CliSettings, *, check: bool, out: Output, watch: Watch) -> int:
    """List the hosts of llorch.toml; nobody is called unless --check is given."""
    columns = (*_COLUMNS, *_CHECKED) if check else _COLUMNS
    return watch.run(
        lambda: _look(settings, check=check), lambda rows: out.rows(rows, columns, empty=_EMPTY)
    )


def _look(settings: CliSettings, *, check: bool) -> list[dict[str, object]]:
    from llorch_ctl.hosts.book import HostBook
    from llorch_ctl.hosts.ways import login
    from orchestrator_core.clients.ssh.known_keys import KnownKeys

    entries = HostBook.of(settings).entries()
    ours = login(settings)
    known = KnownKeys(ours.known_hosts)
    rows = [_row(entry, known, ours.config_files) for entry in entries]
    if check:
        rows = [row | facts for row, facts in zip(rows, _facts(settings, entries), strict=True)]
    return rows


def _row(entry: "HostEntry", known: "KnownKeys", config: "Sequence[Path]") -> dict[str, object]:
    return {
        "name": entry.name,
        "ssh": str(entry.ssh) if entry.ssh else None,
        "url": entry.url,
        "trusted": _is_trusted(entry, known, config),
    }


def _is_trusted(entry: "HostEntry", known: "KnownKeys", config: "Sequence[Path]") -> bool | None:
    from orchestrator_core.clients.ssh.target import read_target
    from orchestrator_core.errors import Refusal

    if entry.ssh is None:
        return None
    target = read_target(entry.ssh, config)
    if isinstance(target, Refusal):
        return False
    return bool(known.fingerprints(target.known_as, target.port))


def _facts(settings: CliSettings, entries: "Sequence[HostEntry]") -> list[dict[str, object]]:
    from llorch_ctl.hosts.survey import ask_hosts
    from orchestrator_core.errors import Refusal

    reached = [entry for entry in entries if entry.ssh is not None]
    words = {word.entry.name: word.status for word in asyncio.run(ask_hosts(settings, reached))}
    pools = _enrolled(settings)
    facts: list[dict[str, object]] = []
    for entry in entries:
        status = words.get(entry.name)
        told = None if status is None or isinstance(status, Refusal) else status
        facts.append(
            {
                "enrolled": None if pools is None else entry.name in pools,
                "reachable": None if status is None else told is not None,
                "version": told.get("version") if told else None,
                "problem": status.message if isinstance(status, Refusal) else None,
            }
        )
    return facts


def _enrolled(settings: CliSettings) -> set[str] | None:
    """The pools that the orchestrator knows; None when nobody can be asked."""
    from llorch_ctl.home.connection import connect
    from orchestrator_core.errors import LlorchError

    try:
        with connect(settings, None) as client:
            return {view.pool_id for view in client.pools().items}
    except LlorchError:
        return None
