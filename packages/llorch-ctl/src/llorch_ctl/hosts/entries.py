"""Decides what a [hosts.NAME] table of llorch.toml means, and spells one; pure."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from orchestrator_core.clients.ssh.destination import Destination, read_destination
from orchestrator_core.console.addresses import is_url
from orchestrator_core.errors import Code, Refusal

__all__ = ["AUTO", "KEYS", "HostEntry", "read_entry", "shown", "spell_entry", "unfit_name"]

AUTO: Final = "auto"
"""No host can have this name: it leaves the choice to llorch."""

KEYS: Final = ("ssh", "url", "key_file", "ca", "command", "home")

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SHOWN: Final = 80


@dataclass(frozen=True, slots=True)
class HostEntry:
    """One host: how SSH and HTTP reach it, and where the suite lies on it.

    command is the absolute path of llorch-pool there, home its LLORCH_HOME there.
    """

    name: str
    ssh: Destination | None = None
    url: str | None = None
    key_file: Path | None = None
    ca: Path | None = None
    command: str | None = None
    home: str | None = None


def unfit_name(name: str) -> Refusal | None:
    """Why no host can be called so; None when one can."""
    if name == AUTO:
        return Refusal(
            Code.INVALID_REQUEST, "no host can be named auto: it means any host that fits"
        )
    if _NAME.fullmatch(name):
        return None
    text = (
        f"{shown(name)} is no name for a host: letters, digits, dot, dash and underscore, "
        "64 at most, a letter or digit first"
    )
    return Refusal(Code.INVALID_REQUEST, text)


def shown(text: str) -> str:
    """Spell what a person typed so that a terminal shows it harmlessly and in one line."""
    short = text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
    return ascii(short)


def read_entry(name: str, table: object, folder: Path) -> HostEntry | Refusal:
    """Read one table; relative paths are meant from the folder of the file."""
    refusal = unfit_name(name)
    if refusal is not None:
        return _invalid(name, refusal.message)
    if not isinstance(table, Mapping):
        return _invalid(name, 'it is no table: write [hosts.mac] and then ssh = "me@mac"')
    texts = _texts(name, cast("Mapping[str, object]", table))
    if isinstance(texts, Refusal):
        return texts
    return _entry(name, texts, folder)


def spell_entry(entry: HostEntry) -> list[tuple[str, str]]:
    """The keys and values that bring the same entry back."""
    values = {
        "ssh": str(entry.ssh) if entry.ssh else None,
        "url": entry.url,
        "key_file": str(entry.key_file) if entry.key_file else None,
        "ca": str(entry.ca) if entry.ca else None,
        "command": entry.command,
        "home": entry.home,
    }
    return [(key, value) for key, value in values.items() if value is not None]


def _texts(name: str, table: Mapping[str, object]) -> dict[str, str] | Refusal:
    texts: dict[str, str] = {}
    for key, value in table.items():
        if key not in KEYS:
            near = difflib.get_close_matches(key, KEYS, n=1)
            hint = f' (did you mean "{near[0]}"?)' if near else ""
            return _invalid(name, f"unknown key {shown(key)}{hint}")
        if not isinstance(value, str) or not value:
            return _invalid(name, f'key "{key}": it takes a text')
        if not value.isprintable():
            return _invalid(name, f'key "{key}": it holds characters that cannot be printed')
        texts[key] = value
    return texts


def _entry(name: str, texts: Mapping[str, str], folder: Path) -> HostEntry | Refusal:
    url, command, home = texts.get("url"), texts.get("command"), texts.get("home")
    ssh: Destination | Refusal | None = None
    if "ssh" in texts or url is None:
        # Without a word about ways the name itself is what ssh would be told.
        ssh = read_destination(texts.get("ssh", name))
    if isinstance(ssh, Refusal):
        return _invalid(name, f'key "ssh": {ssh.message}')
    if url is not None and not is_url(url):
        return _invalid(name, f'key "url": {shown(url)} is not a URL like https://mac:9200')
    for key, path in (("command", command), ("home", home)):
        if path is not None and not path.startswith("/"):
            return _invalid(name, f'key "{key}": {shown(path)} is not an absolute path')
    files = {
        key: folder / Path(texts[key]).expanduser() for key in ("key_file", "ca") if key in texts
    }
    return HostEntry(
        name,
        ssh,
        url.rstrip("/") if url else None,
        files.get("key_file"),
        files.get("ca"),
        command,
        home,
    )


def _invalid(name: str, reason: str) -> Refusal:
    where = name if _NAME.fullmatch(name) else ascii(name[:_SHOWN])
    return Refusal(Code.CONFIG_INVALID, f"llorch.toml: [hosts.{where}]: {reason}")
