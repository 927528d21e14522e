"""Writes one [hosts.NAME] table into a TOML text and leaves every other byte as it is; pure.

The text is edited by its lines; what comes out is parsed again and must mean what was wanted, so
that no odd spelling of a table can end in a file that says something else.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Final, cast

from orchestrator_core.errors import Code, Refusal

__all__ = ["with_table", "without_table"]

_HEADER: Final = re.compile(r"\s*\[")
_TABLE: Final = "hosts"


def with_table(text: str, name: str, values: Sequence[tuple[str, str]]) -> str | Refusal:
    """Put a table in the place of the one of this name, or at the end."""
    lines = [_header(name), *(f"{key} = {_quoted(value)}" for key, value in values)]
    wanted = _hosts(text) | {name: dict(values)}
    begin, end = _place(text, name)
    kept = text.splitlines(keepends=True)
    if begin is None:
        before = "".join(kept)
        gap = "" if not before else "\n" if before.endswith("\n") else "\n\n"
        return _checked(before + gap + "\n".join(lines) + "\n", text, wanted)
    # What stands between this table and the next belongs to the next: comments and blank lines.
    tail = _tail(kept[begin + 1 : end])
    new = [*kept[:begin], "\n".join(lines) + "\n", *tail, *kept[end:]]
    return _checked("".join(new), text, wanted)


def without_table(text: str, name: str) -> str | Refusal:
    """Take the table of this name out; a text without it stays as it is."""
    hosts = _hosts(text)
    if name not in hosts:
        return text
    wanted = {key: value for key, value in hosts.items() if key != name}
    begin, end = _place(text, name)
    if begin is None:
        return _unwritable(name)
    kept = text.splitlines(keepends=True)
    new = [*kept[:begin], *_tail(kept[begin + 1 : end]), *kept[end:]]
    return _checked("".join(new), text, wanted)


def _place(text: str, name: str) -> tuple[int | None, int]:
    lines = text.splitlines()
    own = re.compile(
        rf"""\s*\[\s*["']?{_TABLE}["']?\s*\.\s*["']?{re.escape(name)}["']?\s*\]\s*(#.*)?"""
    )
    for index, line in enumerate(lines):
        if own.fullmatch(line):
            after = range(index + 1, len(lines))
            end = next((it for it in after if _HEADER.match(lines[it])), len(lines))
            return index, end
    return None, len(lines)


def _tail(lines: Sequence[str]) -> Sequence[str]:
    count = 0
    for line in reversed(lines):
        if line.strip() and not line.lstrip().startswith("#"):
            break
        count += 1
    return lines[len(lines) - count :]


def _checked(new: str, old: str, wanted: Mapping[str, object]) -> str | Refusal:
    rest = {key: value for key, value in tomllib.loads(old).items() if key != _TABLE}
    try:
        meant = tomllib.loads(new)
    except tomllib.TOMLDecodeError:
        return _unwritable(", ".join(wanted))
    hosts: object = meant.pop(_TABLE, {})
    if meant != rest or hosts != wanted:
        return _unwritable(", ".join(wanted))
    return new


def _hosts(text: str) -> dict[str, object]:
    hosts: object = tomllib.loads(text).get(_TABLE, {})
    return dict(cast("dict[str, object]", hosts)) if isinstance(hosts, dict) else {}


def _unwritable(names: str) -> Refusal:
    line = (
        "llorch.toml spells its hosts in a way that cannot be changed by a program: "
        f"write each as a [hosts.NAME] table ({names})"
    )
    return Refusal(Code.CONFIG_INVALID, line)


def _header(name: str) -> str:
    # A dot in a bare key would begin a table inside the table.
    return f'[{_TABLE}."{name}"]' if "." in name else f"[{_TABLE}.{name}]"


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
