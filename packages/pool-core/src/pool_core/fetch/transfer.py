"""Brings one file of a hub here: one lock, one part, and a name only once its hash has matched.

Whoever comes second waits for the first, tells how far that is, and takes over where it stopped.
"""

import contextlib
import hashlib
import os
import random
import re
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from orchestrator_core.clock import Clock, SystemClock
from orchestrator_core.contracts.downloads import DownloadStage
from orchestrator_core.errors import Code, LlorchError, Refusal
from orchestrator_core.platforms.files import FileLock, ensure_folder
from pool_core.fetch.cancel import Cancel
from pool_core.fetch.filling import Manner, free_bytes_at
from pool_core.fetch.news import Teller, TransferNews
from pool_core.fetch.pace import Pace
from pool_core.fetch.partial import Partial, PartialPaths, disk_refusal
from pool_core.fetch.peers import Peers
from pool_core.fetch.room import Reserve
from pool_core.fetch.sources import HubSource, Wanted
from pool_core.fetch.sourcing import Sourcing
from pool_core.fetch.web import Web

__all__ = ["Transfer", "TransferNews", "Wanted"]

_FOLDER: Final = "partial"
_LOOK_AGAIN_S: Final = 0.2
_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


class Transfer:
    """Fetches files into a folder of models; safe to share between threads.

    Without a web nothing is asked of a hub: only peers can bring a file.
    """

    def __init__(
        self,
        web: Web | None,
        *,
        folder: Path,
        reserve: Reserve | None = None,
        pace: Pace | None = None,
        clock: Clock | None = None,
        pause: Callable[[float], None] = time.sleep,
        dice: Callable[[], float] = random.random,
        free_bytes: Callable[[Path], int] = free_bytes_at,
    ) -> None:
        self._hub = None if web is None else HubSource(web)
        self._folder = folder / _FOLDER
        self._manner = Manner(
            clock=clock or SystemClock(),
            pause=pause,
            dice=dice,
            free_bytes=free_bytes,
            reserve=reserve or Reserve(),
            pace=pace or Pace(),
        )

    def fetch(
        self,
        file: Wanted,
        *,
        into: Path,
        tell: Callable[[TransferNews], None],
        cancel: Cancel,
        peers: Peers | None = None,
    ) -> Path | Refusal:
        """Bring a file and give it the name `into`; after a refusal its part stays for next time.

        Peers are asked before the hub. A file of the right size that has the name already is not
        fetched again.
        """
        paths = PartialPaths(self._folder, _key_of(file))
        teller = Teller(tell, self._manner.clock)
        lock = FileLock(paths.lock)
        try:
            ensure_folder(self._folder)
            ensure_folder(into.parent)
            refusal = self._acquire(lock, paths, file, teller, cancel)
            if refusal is not None:
                return refusal
            if not _is_whole(into, file.size_bytes):
                refusal = self._bring(file, paths, into, teller, cancel, peers)
        except LlorchError as error:
            return error.refusal
        except OSError as error:
            return _host_refusal(error, file.path, file.size_bytes - paths.length())
        finally:
            lock.release()
        if refusal is None:
            teller(_done(file.size_bytes, teller.fetched_bytes))
        return into if refusal is None else refusal

    def _acquire(
        self, lock: FileLock, paths: PartialPaths, file: Wanted, teller: Teller, cancel: Cancel
    ) -> Refusal | None:
        """Wait until nobody else fetches the file."""
        while not lock.try_acquire():
            if cancel.is_set():
                line = f"the wait for {file.path} was stopped; whoever fetches it goes on"
                return Refusal(Code.CANCELLED, line)
            here = min(paths.length(), file.size_bytes)
            note = f"{_holder(lock)} fetches it already"
            teller(TransferNews(DownloadStage.WAITING, here, file.size_bytes, 0, note))
            self._manner.rest(_LOOK_AGAIN_S, cancel)
        return None

    def _bring(
        self,
        file: Wanted,
        paths: PartialPaths,
        into: Path,
        teller: Teller,
        cancel: Cancel,
        peers: Peers | None,
    ) -> Refusal | None:
        with Partial.open(paths) as partial:
            sourcing = Sourcing(file, partial, self._folder, self._manner, teller, cancel)
            refusal = sourcing.bring(self._hub, peers)
            if refusal is None:
                partial.finish(into)
            return refusal


def _key_of(file: Wanted) -> str:
    """What the part is called: by its content, else by where it comes from."""
    if file.sha256 is None:
        return hashlib.sha256(file.url.encode("utf-8")).hexdigest()
    if not _SHA256.fullmatch(file.sha256):
        raise ValueError(f"{file.sha256[:80]!r} is no SHA-256, and becomes no name of a file")
    return file.sha256


def _is_whole(path: Path, size_bytes: int) -> bool:
    try:
        facts = path.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISREG(facts.st_mode) and facts.st_size == size_bytes


def _holder(lock: FileLock) -> str:
    pid = None
    with contextlib.suppress(OSError):
        pid = lock.holder_pid()
    if pid is None:
        return "another process"
    return "another download of this program" if pid == os.getpid() else f"process {pid}"


def _done(size_bytes: int, fetched_bytes: int) -> TransferNews:
    return TransferNews(DownloadStage.DONE, size_bytes, size_bytes, fetched_bytes)


def _host_refusal(error: OSError, path: str, missing_bytes: int) -> Refusal:
    refusal = disk_refusal(error, path, missing_bytes)
    if refusal is not None:
        return refusal
    return Refusal(Code.INTERNAL, f"{path} cannot be written: {error.filename}: {error.strerror}")
