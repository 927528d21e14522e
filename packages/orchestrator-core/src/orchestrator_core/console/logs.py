"""Reads the end of a log file, and follows it while it grows, is cut or is replaced."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

__all__ = ["follow_lines", "last_lines"]

_POLL_S: Final = 0.5


def last_lines(path: Path, count: int, *, start: int = 0) -> list[str]:
    """The last lines of a file, not looking before byte `start`; none when there is no file."""
    try:
        with path.open("rb") as stream:
            stream.seek(start if start <= path.stat().st_size else 0)
            lines = deque(stream, maxlen=count)
    except FileNotFoundError:
        return []
    return [line.decode("utf-8", "replace").rstrip("\n") for line in lines]


def follow_lines(
    path: Path, count: int, *, pause: Callable[[float], None] = time.sleep
) -> Iterator[str]:
    """The last lines and then every new one, without end."""
    yield from last_lines(path, count)
    position = path.stat().st_size if path.exists() else 0
    rest = b""
    while True:
        size = path.stat().st_size if path.exists() else 0
        if size < position:
            # The file was cut or replaced: begin again at its start.
            position, rest = 0, b""
        if size > position:
            with path.open("rb") as stream:
                stream.seek(position)
                rest += stream.read(size - position)
            position = size
            *whole, rest = rest.split(b"\n")
            yield from (line.decode("utf-8", "replace") for line in whole)
        else:
            pause(_POLL_S)
