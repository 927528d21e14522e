"""What a Mac tells about itself through sysctl; the parsing is pure."""

from collections.abc import Sequence
from typing import Final

from pool_core.devices.commands import Run

__all__ = ["parse_sysctl", "read_sysctl"]

_TIMEOUT_S: Final = 3.0


def read_sysctl(run: Run, names: Sequence[str]) -> dict[str, str]:
    """Ask for all names at once; what this system does not know is missing."""
    # With -n an unknown name leaves no line behind and every later value would be taken for
    # another name's; the exit code tells of unknown names only, so it does not count.
    ran = run(["sysctl", *names], _TIMEOUT_S)
    return parse_sysctl(ran.output) if ran else {}


def parse_sysctl(text: str) -> dict[str, str]:
    """Read lines of `name: value`."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(": ")
        if colon:
            found[name.strip()] = value.strip()
    return found
