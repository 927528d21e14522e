"""Changes single settings of a TOML text and leaves every other byte as it is: pure.

The text is edited by its lines; what comes out is parsed again and must mean what was wanted, so
that no odd spelling of a file can end in one that says something else.
"""

import json
import re
import tomllib
from collections.abc import Mapping
from typing import Final

from orchestrator_core.errors import Code, Refusal

__all__ = ["Setting", "with_settings"]

Setting = str | bool | None
"""What a setting shall be; None takes it out."""

_HEADER: Final = re.compile(r"\s*\[")


def with_settings(text: str, changes: Mapping[str, Setting]) -> str | Refusal:
    """Set, change or take out top-level keys whose values are single lines."""
    try:
        before: dict[str, object] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return Refusal(Code.CONFIG_INVALID, f"it is not valid TOML: {error}")
    lines = text.splitlines(keepends=True)
    end = next((at for at, line in enumerate(lines) if _HEADER.match(line)), len(lines))
    top, rest = lines[:end], lines[end:]
    for key, value in changes.items():
        if key not in before or before[key] != value:
            top = _with(top, key, value)
    after = "".join([*top, *rest])
    wanted = {key: value for key, value in {**before, **changes}.items() if value is not None}
    return after if _means(after) == wanted else _by_hand(changes)


def _with(lines: list[str], key: str, value: Setting) -> list[str]:
    own = re.compile(rf"\s*{re.escape(key)}\s*=")
    fresh = [] if value is None else [f"{key} = {json.dumps(value, ensure_ascii=False)}\n"]
    for at, line in enumerate(lines):
        if own.match(line):
            return [*lines[:at], *fresh, *lines[at + 1 :]]
    if lines and not lines[-1].endswith("\n"):
        lines = [*lines[:-1], lines[-1] + "\n"]
    # Behind the last setting, before what belongs to the table that follows.
    end = len(lines)
    while end and (not lines[end - 1].strip() or lines[end - 1].lstrip().startswith("#")):
        end -= 1
    return [*lines[:end], *fresh, *lines[end:]]


def _means(text: str) -> dict[str, object] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def _by_hand(changes: Mapping[str, Setting]) -> Refusal:
    wanted = ", ".join(
        f"no {key}" if value is None else f"{key} = {json.dumps(value)}"
        for key, value in changes.items()
    )
    return Refusal(Code.CONFIG_INVALID, f"it is spelled in an unusual way: write by hand {wanted}")
