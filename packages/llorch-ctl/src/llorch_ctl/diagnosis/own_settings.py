"""Tells what llorch itself goes by, and where each of it comes from; no secret is told."""

from collections.abc import Iterator
from dataclasses import dataclass

from llorch_ctl.hosts.book import HostBook
from llorch_ctl.settings import CliSettings
from orchestrator_core.console.endpoints import find_address
from orchestrator_core.console.programs import ORCHESTRATORD
from orchestrator_core.errors import LlorchError

__all__ = ["Setting", "own_settings"]


@dataclass(frozen=True, slots=True)
class Setting:
    """One thing that is set; origin is env NAME, file PATH, run file, flag or default."""

    program: str
    key: str
    value: object
    origin: str


def own_settings(settings: CliSettings, url: str | None = None) -> list[Setting]:
    """Everything that decides what a command of llorch does here."""
    found = [*_folders(settings), *_orchestrator(settings, url), *_files(settings)]
    return [Setting("llorch", key, value, origin) for key, value, origin in found]


def _folders(settings: CliSettings) -> Iterator[tuple[str, object, str]]:
    layout, env = settings.layout, settings.env
    names = {
        "config": "XDG_CONFIG_HOME", "data": "XDG_DATA_HOME", "state": "XDG_STATE_HOME",
        "cache": "XDG_CACHE_HOME",
    }  # fmt: skip
    paths = {
        "config": layout.config, "data": layout.data, "state": layout.state, "cache": layout.cache,
    }  # fmt: skip
    for key, path in paths.items():
        # A relative path in one of these variables is ignored, as their specification says.
        by_xdg = env.get(names[key], "").startswith("/")
        origin = f"env {names[key]}" if by_xdg else "default"
        yield f"{key}_folder", str(path), "env LLORCH_HOME" if env.get("LLORCH_HOME") else origin


def _orchestrator(settings: CliSettings, url: str | None) -> Iterator[tuple[str, object, str]]:
    env, layout = settings.env, settings.layout
    try:
        found = find_address(ORCHESTRATORD, flag=url, env=env, layout=layout)
        yield "orchestrator_url", found.url, found.origin
    except LlorchError as error:
        yield "orchestrator_url", f"unusable: {error.refusal.message}", "env"
    if env.get("LLORCH_API_KEY"):
        yield "api_key", "set", "env LLORCH_API_KEY"
    else:
        is_there = layout.admin_key.exists()
        origin = f"file {layout.admin_key}" if is_there else "default"
        yield "api_key", "set" if is_there else None, origin
    for key, name in (("ca_file", "LLORCH_CA_FILE"), ("debug", "LLORCH_DEBUG")):
        yield key, env.get(name) or None, f"env {name}" if env.get(name) else "default"


def _files(settings: CliSettings) -> Iterator[tuple[str, object, str]]:
    layout, env = settings.layout, settings.env
    origin = "env LLORCH_CATALOG" if env.get("LLORCH_CATALOG") else "default"
    yield "catalog", str(layout.catalog) if layout.catalog else None, origin
    file = layout.config_file("llorch")
    try:
        names = [entry.name for entry in HostBook.of(settings).entries()]
    except LlorchError as error:
        yield "hosts", f"unusable: {error.refusal.message}", f"file {file}"
    else:
        yield "hosts", names or None, f"file {file}" if names else "default"
    known = layout.known_hosts
    yield "known_hosts", str(known) if known.exists() else None, "default"
