"""Decides what of our terminal a command at a host is told: width, language, colour; pure."""

from collections.abc import Mapping
from typing import Final

from orchestrator_core.stream.remote_frames import travels

__all__ = ["told_env"]

_PLAIN: Final = ("NO_COLOR", "LANG", "LANGUAGE", "TERM")
_LANGUAGE: Final = "LC_"
_VALUE_MAX: Final = 256


def told_env(
    env: Mapping[str, str], *, columns: int | None, home: str | None = None
) -> dict[str, str]:
    """The variables for a host; none of our keys and folders is among them.

    columns is the width of our own terminal, None where stdout is none.
    """
    told = {
        name: value
        for name, value in env.items()
        if (name in _PLAIN or name.startswith(_LANGUAGE)) and travels(name) and _is_plain(value)
    }
    if columns is not None:
        told["COLUMNS"] = str(columns)
        if "NO_COLOR" not in told:
            told["FORCE_COLOR"] = "1"
    elif env.get("COLUMNS", "").isdecimal():
        told["COLUMNS"] = env["COLUMNS"]
    if home is not None:
        told["LLORCH_HOME"] = home
    return told


def _is_plain(value: str) -> bool:
    return len(value) <= _VALUE_MAX and value.isprintable()
