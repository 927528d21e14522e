"""Reads what a person chose for llorch host add into one order, or says what does not fit."""

import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

from llorch_ctl.enrolment.adding import Adding
from llorch_ctl.enrolment.joining import PushWay, push_way
from llorch_ctl.enrolment.plan import Wanted
from llorch_ctl.enrolment.suite_source import find_suite_folder
from llorch_ctl.enrolment.wheelhouse import read_suite
from llorch_ctl.hosts.book import HostBook
from llorch_ctl.hosts.entries import HostEntry
from llorch_ctl.settings import CliSettings
from orchestrator_core.clients.ssh.destination import Destination, read_destination
from orchestrator_core.console.endpoints import find_url, trust_for
from orchestrator_core.console.programs import ORCHESTRATORD
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.platforms.sockets import parse_bind

__all__ = ["read_adding"]


def read_adding(
    settings: CliSettings,
    name: str,
    destination: str | None,
    chosen: Mapping[str, object],
    url: str | None,
    say: Callable[[str], None],
) -> Adding | Refusal:
    """Make the order; wheels are found or built here, before anybody is called."""
    wanted = _wanted(name, chosen)
    if isinstance(wanted, Refusal):
        return wanted
    entry = _entry(settings, name, destination, cast("str | None", chosen["home"]))
    if isinstance(entry, Refusal):
        return entry
    endpoint = cast("str | None", chosen["endpoint"])
    told = read_destination(endpoint) if endpoint is not None else None
    if isinstance(told, Refusal):
        return told
    push = _push(settings, url) if wanted.road == "push" else None
    if isinstance(push, Refusal):
        return push
    folder = find_suite_folder(settings, cast("Path | None", chosen["wheels"]), say)
    if isinstance(folder, Refusal):
        return folder
    suite = read_suite(folder)
    if isinstance(suite, Refusal):
        return suite
    return Adding(
        entry=entry,
        destination=entry.ssh or Destination(name),
        wanted=wanted,
        suite=suite,
        third_party=cast("Path | None", chosen["third_party"]) or folder / "third-party",
        again=shlex.join(["llorch", *sys.argv[1:]]),
        endpoint=told,
        push=push,
    )


def _wanted(name: str, chosen: Mapping[str, object]) -> Wanted | Refusal:
    direct = cast("str | None", chosen["direct"])
    bind = f"127.0.0.1:{chosen['daemon_port']}"
    if direct is not None:
        if chosen["no_join"]:
            return Refusal(Code.INVALID_REQUEST, "--direct does not go with --no-join")
        address = parse_bind(direct)
        if isinstance(address, Refusal):
            return Refusal(Code.INVALID_REQUEST, f"--direct: {address.message}")
        if address[1] == 0:
            return Refusal(Code.INVALID_REQUEST, "--direct takes a port: others must find it again")
        bind = direct
    python, home = chosen["python"], chosen["home"]
    for flag, path in (("--python", python), ("--home", home)):
        if path is not None and not _is_plain_path(str(path)):
            line = f"{flag} takes an absolute path of the host without quotes: {str(path)[:80]!a}"
            return Refusal(Code.INVALID_REQUEST, line)
    return Wanted(
        name=name,
        road="none" if chosen["no_join"] else "push" if direct is not None else "ssh",
        bind=bind,
        offline=bool(chosen["offline"]),
        service=not chosen["no_service"],
        python=cast("str | None", python),
    )


def _entry(
    settings: CliSettings, name: str, destination: str | None, home: str | None
) -> HostEntry | Refusal:
    """What is known of the host; a destination that is given now counts more."""
    found = HostBook.of(settings).find(name)
    if destination is None:
        if isinstance(found, Refusal) or found.ssh is not None:
            return found if isinstance(found, Refusal) else _with_home(found, home)
        line = f"{name} has no ssh in llorch.toml: give it as llorch host add {name} USER@HOST"
        return Refusal(Code.INVALID_REQUEST, line)
    ssh = read_destination(destination)
    if isinstance(ssh, Refusal):
        return ssh
    if isinstance(found, Refusal):
        found = HostEntry(name)
    elif found.ssh != ssh and any(one.name == name for one in HostBook.of(settings).entries()):
        line = (
            f"{name} is {found.ssh or found.url} in llorch.toml: take another name for {ssh}, "
            "or change it there if the host has moved"
        )
        return Refusal(Code.CONFLICT, line)
    return _with_home(replace(found, ssh=ssh, command=None), home)


def _with_home(entry: HostEntry, home: str | None) -> HostEntry:
    return entry if home is None else replace(entry, home=home)


def _push(settings: CliSettings, url: str | None) -> PushWay | Refusal:
    found = find_url(ORCHESTRATORD, flag=url, env=settings.env, layout=settings.layout)
    trust = trust_for(found, ORCHESTRATORD, env=settings.env, layout=settings.layout)
    return push_way(found, trust.file if trust is not None and trust.is_peers_own else None)


def _is_plain_path(path: str) -> bool:
    return path.startswith("/") and path.isprintable() and not any(m in path for m in "'\"\\!")
