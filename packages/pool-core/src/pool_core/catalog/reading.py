"""Reads whole files for their SHA-256, in pieces, so that it can be watched and broken off."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from orchestrator_core.errors import Code, Refusal
from orchestrator_core.units import MIB
from pool_core.catalog.store.regular import open_regular
from pool_core.fetch.cancel import Cancel

__all__ = ["cancelled", "hash_descriptor", "hash_file"]

_PIECE_BYTES: Final = MIB


def cancelled(what: str) -> Refusal:
    """The answer of an act that was broken off."""
    return Refusal(Code.CANCELLED, f"{what} was cancelled")


def hash_descriptor(
    descriptor: int,
    *,
    tell: Callable[[int], None],
    cancel: Cancel,
    copy_to: int | None = None,
) -> str | None:
    """The SHA-256 of a file from its start, copied on the way if asked; None when cancelled."""
    digest = hashlib.sha256()
    piece = bytearray(_PIECE_BYTES)
    view = memoryview(piece)
    done_bytes = 0
    os.lseek(descriptor, 0, os.SEEK_SET)
    while not cancel.is_set():
        count = os.readv(descriptor, [piece])
        if count == 0:
            return digest.hexdigest()
        digest.update(view[:count])
        if copy_to is not None:
            _write_all(copy_to, view[:count])
        done_bytes += count
        tell(done_bytes)
    return None


def hash_file(path: Path, *, tell: Callable[[int], None], cancel: Cancel) -> str | None:
    """The SHA-256 of a regular file, on its way to the disk; None when cancelled."""
    descriptor = open_regular(path)
    try:
        sha256 = hash_descriptor(descriptor, tell=tell, cancel=cancel)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return sha256


def _write_all(descriptor: int, data: memoryview) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
