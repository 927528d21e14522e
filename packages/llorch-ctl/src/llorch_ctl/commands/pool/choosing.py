"""--host auto: looks at every host, lets the rules of placement choose, and says why."""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from llorch_ctl.commands.pool.words import Words
from llorch_ctl.hosts.book import HostBook
from llorch_ctl.hosts.choice import Candidate, choose_among, record_of
from llorch_ctl.hosts.entries import HostEntry
from llorch_ctl.hosts.survey import HostWord, ask_hosts
from llorch_ctl.hosts.wishes import read_wish
from llorch_ctl.settings import CliSettings
from orchestrator_core.catalog.resolve import Catalog
from orchestrator_core.cluster.pools import PoolRecord
from orchestrator_core.errors import Code, LlorchError, Refusal, error_for

if TYPE_CHECKING:
    from orchestrator_core.contracts.control import PoolView

__all__ = ["choose_host"]


def choose_host(settings: CliSettings, verb: str, words: Words) -> HostEntry:
    """The host for this command; nobody who fits is an error with all reasons."""
    wish = read_wish(verb, words.rest)
    if isinstance(wish, Refusal):
        raise click.UsageError(wish.message)
    entries = {entry.name: entry for entry in HostBook.of(settings).entries()}
    if not entries:
        line = "llorch.toml names no host to choose from: llorch host add NAME adds one"
        raise error_for(Refusal(Code.HOST_NOT_FOUND, line))
    views = _seen_by_orchestrator(settings)
    candidates = _asked(settings, entries) if views is None else _seen(entries, views)
    catalog = Catalog.of(settings.layout)
    chosen = choose_among(candidates, wish, catalog)
    if isinstance(chosen, Refusal):
        raise error_for(chosen)
    click.echo(f"{chosen.name}: {'; '.join(chosen.reasons)}", err=True)
    if chosen.missing:
        again = f"llorch pool models download {wish.model} --host {chosen.name}"
        click.echo(f"no host has {wish.model}: it has to be downloaded first: {again}", err=True)
    return entries[chosen.name]


def _asked(settings: CliSettings, entries: Mapping[str, HostEntry]) -> dict[str, Candidate]:
    """What the hosts say of themselves."""
    words = asyncio.run(ask_hosts(settings, list(entries.values())))
    return {word.entry.name: _told(word) for word in words}


def _told(word: HostWord) -> Candidate:
    if isinstance(word.status, Refusal):
        return word.status
    return record_of(word.entry.name, word.status)


def _seen(
    entries: Mapping[str, HostEntry], views: "Mapping[str, PoolView]"
) -> dict[str, Candidate]:
    """What the orchestrator knows of the hosts."""
    found: dict[str, Candidate] = {}
    for name in entries:
        view = views.get(name)
        if view is None:
            found[name] = Refusal(Code.POOL_NOT_FOUND, "the orchestrator does not know it")
            continue
        record = record_of(name, view.model_dump(mode="json", include={"devices", "models"}))
        if isinstance(record, PoolRecord):
            record.status = view.status
        found[name] = record
    return found


def _seen_by_orchestrator(settings: CliSettings) -> "dict[str, PoolView] | None":
    """What a running orchestrator knows; None when there is none."""
    from llorch_ctl.home.connection import connect

    try:
        with connect(settings, None) as client:
            return {view.pool_id: view for view in client.pools().items}
    except LlorchError as error:
        if error.code is not Code.UNREACHABLE:
            raise
        return None
