"""Decides what pool.toml of a host shall say, and edits its text; pure.

What a person has written there stays, line by line; what contradicts an enrolment is refused.
"""

import json
import tomllib
from collections.abc import Mapping
from typing import Final

from llorch_ctl.enrolment.plan import Wanted
from orchestrator_core.errors import Code, Refusal

__all__ = ["pool_named_in", "settings_for", "with_settings"]

_LEAVE: Final = "llorch pool daemon leave --host"


def settings_for(
    text: str, wanted: Wanted, *, url: str | None
) -> Mapping[str, str | None] | Refusal:
    """What must be set for this enrolment, None for what must go; url is where a host reports."""
    before = _read(text)
    if isinstance(before, Refusal):
        return before
    name, other = wanted.name, before.get("pool_id")
    if isinstance(other, str) and other != name:
        line = (
            f"this host is a pool already and is called {other[:64]!a}: take that name, or run "
            f"first: llorch host remove {other[:64]!a}"
        )
        return Refusal(Code.CONFLICT, line)
    hub = before.get("orchestrator_url")
    if wanted.road != "none" and isinstance(hub, str) and hub != url:
        line = f"{name} reports to {hub[:200]!a} by itself: to end that, run: {_LEAVE} {name}"
        return Refusal(Code.CONFLICT, line)
    values: dict[str, str | None] = {"pool_id": name, "bind": wanted.bind}
    if wanted.road == "ssh" and before.get("tls") is True:
        # A join of its own has left it; through SSH the port is the host's own and needs none.
        values["tls"] = None
    return values


def pool_named_in(text: str) -> str | None:
    """Which pool the host says that it is; None where it does not say."""
    before = _read(text)
    name = None if isinstance(before, Refusal) else before.get("pool_id")
    return name if isinstance(name, str) else None


def with_settings(text: str, values: Mapping[str, str | None]) -> str | Refusal:
    """Set keys at the top of a TOML text, or take them out, and leave every other line as it is."""
    before = _read(text)
    if isinstance(before, Refusal):
        return before
    wanted = {key: value for key, value in before.items() if key not in values}
    wanted |= {key: value for key, value in values.items() if value is not None}
    if wanted == before:
        return text
    new = _edited(text, values)
    try:
        agrees = tomllib.loads(new) == wanted
    except tomllib.TOMLDecodeError:
        agrees = False
    if agrees:
        return new
    names = ", ".join(values)
    line = f"pool.toml of the host is spelled in a way that cannot be changed: set {names} there"
    return Refusal(Code.CONFIG_INVALID, line)


def _read(text: str) -> dict[str, object] | Refusal:
    if "\ufffd" in text:
        return Refusal(Code.CONFIG_INVALID, "pool.toml of the host is not UTF-8 text")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return Refusal(Code.CONFIG_INVALID, f"pool.toml of the host is no TOML: {error}")


def _edited(text: str, values: Mapping[str, str | None]) -> str:
    lines = text.splitlines()
    end = next((at for at, line in enumerate(lines) if line.lstrip().startswith("[")), len(lines))
    missing = {key: value for key, value in values.items() if value is not None}
    top: list[str] = []
    for line in lines[:end]:
        key = _key_of(line)
        if key not in values:
            top.append(line)
        elif key in missing:
            top.append(f"{key} = {json.dumps(missing.pop(key))}")
    while top and not top[-1].strip():
        top.pop()
    top += [f"{key} = {json.dumps(value)}" for key, value in missing.items()]
    rest = ["", *lines[end:]] if end < len(lines) else []
    return "".join(f"{line}\n" for line in (*top, *rest))


def _key_of(line: str) -> str:
    return line.partition("=")[0].strip().strip("\"'")
