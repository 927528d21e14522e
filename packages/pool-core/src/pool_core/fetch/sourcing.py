"""Fills the part of one file from those who have it: peers first, the hub last, one at a time.

A source is blamed for wrong bytes only where it has sent the whole file itself.
"""

from dataclasses import replace
from pathlib import Path
from typing import Final

from orchestrator_core.contracts.downloads import DownloadStage
from orchestrator_core.errors import Code, Refusal
from pool_core.fetch.cancel import Cancel
from pool_core.fetch.filling import Filling, Manner
from pool_core.fetch.news import Teller, TransferNews
from pool_core.fetch.pace import Pace
from pool_core.fetch.partial import Partial
from pool_core.fetch.peer_rules import may_go_on, reason_of
from pool_core.fetch.peers import Peers
from pool_core.fetch.sources import HUB, HubSource, Source, Wanted

__all__ = ["Sourcing"]

# Somebody else can be asked soon, so that a peer is not begged.
_PEER_PACE: Final = Pace(first_s=0.5, longest_s=5.0, idle_max=3, total_max=8, asked_max_s=10.0)


class Sourcing:
    """One file on its way into its part; used once, by the holder of the lock."""

    def __init__(
        self,
        file: Wanted,
        partial: Partial,
        folder: Path,
        manner: Manner,
        teller: Teller,
        cancel: Cancel,
    ) -> None:
        self._file = file
        self._partial = partial
        self._folder = folder
        self._manner = manner
        self._teller = teller
        self._cancel = cancel
        self._last: Filling | None = None
        self._failed: str | None = None
        self._why: str | None = None

    def bring(self, hub: HubSource | None, peers: Peers | None) -> Refusal | None:
        """Fetch what is missing and hold it against its hash; None when the part is whole."""
        refusal = self._nobody() if peers is None else self._by_peers(peers, hub)
        if refusal is None or hub is None or not may_go_on(refusal):
            return refusal
        filling = self._begun(hub, self._manner.pace)
        return filling if isinstance(filling, Refusal) else self._from_hub(filling)

    def _by_peers(self, peers: Peers, hub: HubSource | None) -> Refusal | None:
        """Ask those who have it, and wait for those that may come back as long as that is worth it."""
        clock = self._manner.clock
        since_s, furthest = clock.monotonic_s(), 0
        while True:
            refusal = self._one_round(peers, is_only_way=hub is None)
            if refusal is None or not may_go_on(refusal):
                return refusal
            if self._partial.length > furthest:
                since_s, furthest = clock.monotonic_s(), self._partial.length
            if clock.monotonic_s() - since_s >= peers.patience_s(is_only_way=hub is None):
                self._tell_why("nobody else is known" if hub is None else f"goes on from {HUB}")
                return refusal
            self._tell_wait()
            self._manner.rest(peers.rest_s(self._manner.dice()), self._cancel)
            if self._cancel.is_set():
                return Refusal(Code.CANCELLED, f"the wait for {self._file.path} was stopped")
            peers.recall()

    def _one_round(self, peers: Peers, *, is_only_way: bool) -> Refusal | None:
        for peer in peers.holders(self._file, is_only_way=is_only_way):
            self._tell_why(f"goes on from {peer.name}")
            filling = self._begun(peer, _PEER_PACE)
            refusal = filling if isinstance(filling, Refusal) else self._from_peer(filling)
            if refusal is None or not may_go_on(refusal):
                return refusal
            peers.leave_out(peer, refusal)
            self._failed = f"{peer.name}{reason_of(refusal)}"
            self._why = self._failed
        return self._nobody()

    @property
    def _fetched_bytes(self) -> int:
        return 0 if self._last is None else self._last.fetched_bytes

    def _begun(self, source: Source, pace: Pace) -> Filling | Refusal:
        """What was here before all this is read once, and later bytes are counted as they come."""
        before = self._last
        filling = Filling(
            self._file,
            self._partial,
            source=source,
            folder=self._folder,
            manner=replace(self._manner, pace=pace),
            teller=self._teller,
            cancel=self._cancel,
            fetched_bytes=self._fetched_bytes,
        )
        self._last = filling
        return (filling.begin() if before is None else None) or filling

    def _from_peer(self, filling: Filling) -> Refusal | None:
        refusal = filling.fill()
        if refusal is None and not self._matches(filling) and filling.is_mixed:
            filling.start_over("what is here is not what was listed; begins anew")
            refusal = filling.fill()
        if refusal is None and not self._matches(filling):
            refusal = self._mismatch()
            self._partial.empty()
        return refusal

    def _from_hub(self, filling: Filling) -> Refusal | None:
        refusal = filling.fill()
        if refusal is None and not self._matches(filling):
            filling.start_over("what came is not what the hub listed; begins anew")
            refusal = filling.fill()
            if refusal is None and not self._matches(filling):
                refusal = self._mismatch()
                self._partial.remove()
        return refusal

    def _matches(self, filling: Filling) -> bool:
        filling.say(DownloadStage.VERIFYING)
        return self._file.sha256 in (None, self._partial.sha256)

    def _tell_why(self, then: str) -> None:
        """Say once why the one before was left, and what comes of it."""
        if self._failed is not None:
            self._say(DownloadStage.TRANSFERRING, f"{self._failed}; {then}")
            self._failed = None

    def _tell_wait(self) -> None:
        """Say what is waited for, with every round: whoever looks on sees that it still is."""
        who = self._failed or self._why or "no other pool answers"
        self._say(DownloadStage.WAITING, f"{who}; waits for its turn")
        self._failed = None

    def _say(self, stage: DownloadStage, note: str) -> None:
        here, size = self._partial.length, self._file.size_bytes
        self._teller(TransferNews(stage, here, size, self._fetched_bytes, note))

    def _mismatch(self) -> Refusal:
        file, actual = self._file, self._partial.sha256
        line = f"{file.path} was fetched twice and is damaged: its SHA-256 is {actual} instead of"
        line += f" {file.sha256}; nothing of it was kept"
        return Refusal(Code.DATA_CORRUPT, line, {"expected": file.sha256, "actual": actual})

    def _nobody(self) -> Refusal:
        path = self._file.path
        if self._why is None:
            line = f"no peer that answers has {path}: try again later"
        else:
            line = f"no peer could send {path} whole: {self._why}; start it again to go on"
        return Refusal(Code.UNREACHABLE, line)
