"""Fills the part of one file until all its bytes are here: asks, takes, rests, asks again.

What an answer means is decided in ranges, how long to rest in pace, what may be written in room.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator_core.clock import Clock
from orchestrator_core.contracts.downloads import DownloadStage
from orchestrator_core.errors import Code, LlorchError, Refusal
from orchestrator_core.units import MIB, format_bytes
from pool_core.fetch.cancel import Cancel
from pool_core.fetch.faults import Cause
from pool_core.fetch.news import Teller, TransferNews
from pool_core.fetch.pace import Pace, Tries
from pool_core.fetch.partial import Partial, PartialFacts, disk_refusal
from pool_core.fetch.ranges import (
    Answer,
    Changed,
    Complete,
    Held,
    Refuse,
    Renew,
    Retry,
    Take,
    judge,
)
from pool_core.fetch.room import Reserve, judge_room
from pool_core.fetch.sources import Body, Source, Wanted

__all__ = ["Filling", "Manner", "free_bytes_at"]

_LOOK_AT_ROOM_BYTES: Final = 64 * MIB
_SLICE_S: Final = 0.1
_CHANGES_MAX: Final = 2


@dataclass(frozen=True, slots=True)
class Manner:
    """How transfers behave, and the senses that tests replace."""

    clock: Clock
    pause: Callable[[float], None]
    dice: Callable[[], float]
    free_bytes: Callable[[Path], int]
    reserve: Reserve
    pace: Pace

    def rest(self, seconds: float, cancel: Cancel) -> None:
        """Rest so long, or until somebody wants us to stop."""
        until_s = self.clock.monotonic_s() + seconds
        while not cancel.is_set() and (left_s := until_s - self.clock.monotonic_s()) > 0:
            self.pause(min(left_s, _SLICE_S))


def free_bytes_at(folder: Path) -> int:
    """What we may still write where a folder lies."""
    facts = os.statvfs(folder)
    return facts.f_bavail * facts.f_frsize


class Filling:
    """The bytes of one file on their way into its part; used once, by the holder of the lock."""

    def __init__(
        self,
        file: Wanted,
        partial: Partial,
        *,
        source: Source,
        folder: Path,
        manner: Manner,
        teller: Teller,
        cancel: Cancel,
        fetched_bytes: int = 0,
    ) -> None:
        self._file = file
        self._partial = partial
        self._source = source
        self._folder = folder
        self._manner = manner
        self._teller = teller
        self._cancel = cancel
        self._etag: str | None = None
        self._fetched = fetched_bytes
        self._is_mixed = partial.length > 0
        self._furthest = 0
        self._changes = 0
        self._tries = Tries()

    @property
    def fetched_bytes(self) -> int:
        """What came of this file, from whoever sent it."""
        return self._fetched

    @property
    def is_mixed(self) -> bool:
        """True when the part holds bytes that somebody else has sent."""
        return self._is_mixed

    def begin(self) -> Refusal | None:
        """Read what is here already, if it belongs to this file."""
        partial, file = self._partial, self._file
        facts = partial.facts()
        is_ours = facts is not None and (facts.sha256, facts.size_bytes) == (
            file.sha256,
            file.size_bytes,
        )
        # A name made of the hash says enough of the bytes; without a hash the version has to.
        is_known = is_ours if facts is not None else file.sha256 is not None
        if not is_known or partial.length > file.size_bytes:
            partial.empty()
        self._etag = facts.etag if facts is not None and is_ours else None
        # A weak name of a version stands for bytes that may differ.
        if file.sha256 is None and (self._etag is None or self._etag.startswith("W/")):
            partial.empty()
        if partial.length and not partial.read_again(self._has_read):
            return self._cancelled()
        return None

    def fill(self) -> Refusal | None:
        """Fetch what is missing; None when every byte is here."""
        while self._partial.length < self._file.size_bytes:
            refusal = self._cancelled() if self._cancel.is_set() else self._room()
            if refusal is not None:
                return refusal
            self._furthest = max(self._furthest, self._partial.length)
            outcome = self._ask()
            if isinstance(outcome, Refusal):
                return outcome
            if outcome is not None:
                # Bytes that were here before are no progress: a server that never sends the end
                # of a file, and always begins anew, is not asked for ever.
                progressed = self._partial.length > self._furthest
                refusal = self._after(outcome, progressed=progressed)
                if refusal is not None:
                    return refusal
        return None

    def start_over(self, note: str) -> None:
        """Throw all away and say why."""
        self._partial.empty()
        self._is_mixed = False
        self._etag = None
        self._furthest = 0
        self.say(DownloadStage.TRANSFERRING, note)

    def say(self, stage: DownloadStage, note: str | None = None, done: int | None = None) -> None:
        """Tell how far we are."""
        done = self._partial.length if done is None else done
        source, size_bytes = self._source, self._file.size_bytes
        if note is None and stage is DownloadStage.TRANSFERRING:
            note = source.note
        self._teller(TransferNews(stage, done, size_bytes, self._fetched, note, source.name))

    def _has_read(self, done: int) -> bool:
        self.say(DownloadStage.VERIFYING, "reads again what is here already", done)
        return not self._cancel.is_set()

    def _ask(self) -> Refusal | Retry | Renew | Changed | None:
        """One request; None when it brought all that was missing."""
        partial, file = self._partial, self._file
        # Where the hash has the last word, another version of the same bytes is no reason to lose
        # what is here.
        if_range = self._etag if file.sha256 is None else None
        held = Held(file.path, partial.length, file.size_bytes, file.sha256, self._etag)
        try:
            with self._source.stream(
                file, start=partial.length, if_range=if_range, stop=self._cancel.is_set
            ) as stream:
                verdict = judge(held, _answer(stream))
                if isinstance(verdict, Take):
                    return self._take(stream, verdict.start)
        except LlorchError as error:
            if error.code is Code.CANCELLED:
                return self._cancelled()
            return _network_outcome(error)
        except OSError as error:
            refusal = disk_refusal(error, file.path, file.size_bytes - partial.length)
            if refusal is None:
                raise
            return refusal
        if isinstance(verdict, Refuse):
            return verdict.refusal
        return None if isinstance(verdict, Complete) else verdict

    def _take(self, stream: Body, start: int) -> Refusal | Retry | Changed | None:
        """Write the body down as it comes."""
        partial, size = self._partial, self._file.size_bytes
        if start == 0:
            partial.empty()
            self._is_mixed = False
        self._note_version(stream.headers.get("etag"))
        self.say(DownloadStage.TRANSFERRING)
        look_at = partial.length + _LOOK_AT_ROOM_BYTES
        for piece in stream.chunks():
            if partial.length + len(piece) > size:
                return Changed(f"more bytes came than the {size} of {self._file.path}")
            partial.append(piece)
            self._fetched += len(piece)
            self.say(DownloadStage.TRANSFERRING)
            if partial.length >= look_at:
                look_at = partial.length + _LOOK_AT_ROOM_BYTES
                refusal = self._room()
                if refusal is not None:
                    return refusal
        return None if partial.length == size else Retry("the answer ended too early")

    def _note_version(self, etag: str | None) -> None:
        etag = etag if etag is not None and len(etag) <= 256 else None
        if self._partial.length == 0 or etag != self._etag:
            file, self._etag = self._file, etag
            self._partial.note(
                PartialFacts(
                    sha256=file.sha256, size_bytes=file.size_bytes, path=file.path, etag=etag
                )
            )

    def _after(self, outcome: Retry | Renew | Changed, *, progressed: bool) -> Refusal | None:
        """Rest before the next request, or give up."""
        self._tries = self._tries.failed(progressed=progressed)
        if isinstance(outcome, Changed):
            self._changes += 1
            if self._changes >= _CHANGES_MAX:
                line = f"{outcome.reason}: the hub's file is not the one that it listed"
                return Refusal(Code.DATA_CORRUPT, line)
            self.start_over(f"{outcome.reason}; begins anew")
        elif isinstance(outcome, Renew) and self._tries.idle <= 1:
            self.say(DownloadStage.TRANSFERRING, f"{outcome.reason}; asks for another")
            return None
        asked_s = outcome.after_s if isinstance(outcome, Retry) else None
        rest_s = self._manner.pace.rest_s(self._tries, dice=self._manner.dice(), asked_s=asked_s)
        if rest_s is None:
            return self._gave_up(outcome)
        note = f"{outcome.reason}; tries again in {rest_s:.0f} s"
        self.say(DownloadStage.TRANSFERRING, note)
        self._manner.rest(rest_s, self._cancel)
        return None

    def _room(self) -> Refusal | None:
        size = self._file.size_bytes
        return judge_room(
            self._file.path,
            size_bytes=size,
            missing_bytes=size - self._partial.length,
            free_bytes=self._manner.free_bytes(self._folder),
            reserve=self._manner.reserve,
        )

    def _cancelled(self) -> Refusal:
        return Refusal(
            Code.CANCELLED, f"the download of {self._file.path} was stopped; {self._kept()}"
        )

    def _gave_up(self, outcome: Retry | Renew | Changed) -> Refusal:
        code, after_s = Code.UNREACHABLE, None
        if isinstance(outcome, Retry):
            code, after_s = outcome.code, outcome.after_s
        retry_after_s = None if after_s is None else int(after_s)
        return Refusal(code, f"{outcome.reason}; {self._kept()}", retry_after_s=retry_after_s)

    def _kept(self) -> str:
        here, size = self._partial.length, self._file.size_bytes
        if here == 0:
            return "start it again to fetch it"
        return f"{format_bytes(here)} of {format_bytes(size)} are kept: start it again to go on"


def _answer(stream: Body) -> Answer:
    return Answer(stream.host, stream.status, stream.headers, stream.hub_headers, stream.hops)


def _network_outcome(error: LlorchError) -> Refusal | Retry:
    cause = error.refusal.details.get("cause")
    if not isinstance(cause, str) or not Cause(cause).heals:
        return error.refusal
    return Retry(error.refusal.message, code=error.code)
