"""Reads the end of a file in whole lines: half a line could be half a secret, which nobody knows."""

import os
from pathlib import Path
from typing import Final

__all__ = ["read_tail", "tree_size"]

_ENTRIES_MAX: Final = 100_000


def read_tail(path: Path, limit_bytes: int) -> str | None:
    """The last whole lines within the limit; None when there is no such file to read."""
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            start = max(0, size - limit_bytes)
            stream.seek(start)
            data = stream.read(limit_bytes)
    except OSError:
        return None
    if start:
        _, ended, data = data.partition(b"\n")
        data = data if ended else b"one line, longer than what is taken of this file\n"
    return data.decode("utf-8", "replace")


def tree_size(path: Path) -> dict[str, object]:
    """How many files a folder has and how large they are; counting ends at a limit."""
    count, size_bytes = 0, 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                size_bytes += (Path(folder) / name).lstat().st_size
            except OSError:
                continue
            count += 1
            if count >= _ENTRIES_MAX:
                return {"files": count, "size_bytes": size_bytes, "and_more": True}
    return {"files": count, "size_bytes": size_bytes}
